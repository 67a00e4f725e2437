// Where a program keeps what it can make again: a file in the user's cache folder. A home that is not there is not made:
// accounts of Debian's services have /nonexistent, which must stay so.
// Any thread.
#pragma once

#include <stdbool.h>

// penstock/NAME in $XDG_CACHE_HOME, $HOME/.cache or /var/cache, the first place where a file can be written; folders that lack are
// made, but only below $HOME, /var/cache or the folder above $XDG_CACHE_HOME, where that is there. The file itself is not made.
// Returns owned; NULL: there is no such place.
char *cache_file_path(const char *name);
// Makes every folder above the path's last slash that lacks; false with errno. For a path that somebody named.
bool cache_file_make_folders(const char *path);
