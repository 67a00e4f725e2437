// Files that an administrator names. Any thread.
#pragma once

#include <stdio.h>

// Opens a regular file (or one such as /dev/null) to be read; never waits, as fopen does for a pipe's writer. NULL with errno.
FILE *files_open(const char *path);
// What files_open's errno says to the administrator; ESPIPE: "is a pipe or a socket".
const char *files_why_not(int code);
// As many descriptors as the system allows are allowed to this process.
void files_allow_all_descriptors(void);
