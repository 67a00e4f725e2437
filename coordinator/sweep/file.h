// sweep.json: the whole of a sweep, for programs and for going on with it later.
#pragma once

#include <stdio.h>

#include "coordinator/sweep/result.h"

// False when memory is out.
bool sweep_file_write(const struct sweep *sweep, FILE *out);
// Of a file that sweep_file_write wrote, which has every cell of its grid once. ERROR_USAGE names the file, the cell and the member
// that is not as it should be; what is no regular file is not waited for.
bool sweep_file_read(const char *path, struct sweep **ret_sweep, struct error *error);
