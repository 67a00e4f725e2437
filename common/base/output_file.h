// A file that is written whole or not at all. The bytes go to a new file in the target's folder, which takes the target's name when
// all of them are on the disk. Until then, and after any failure, an earlier file is untouched.
//
// - The new file has no name where the file system can do that (O_TMPFILE), so that a killed process leaves nothing; else its name
//   is a random one, so that no two processes share it.
// - Where the path is a symbolic link, the file that it points to is replaced, not the link.
// - The mode and, as far as the process may give files away, the owner of an earlier file stay.
// One thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

struct output_file;

// Begins a file. ERROR_USAGE when the path is no place for it: the folder does not exist or may not be written to, the target may
// not be written to or is not a regular file. With `is_locked`, also when another process is writing the same target with a lock.
bool output_file_create(const char *path, bool is_locked, struct output_file **ret_file, struct error *error);
// For writes at any offset. Borrowed until finish or abort.
int output_file_descriptor(const struct output_file *file);
// Appends. False with the cause in its own words, such as "No space left on device".
bool output_file_append(struct output_file *file, const void *data, size_t bytes, struct error *error);
// Gives the file its name once its bytes are on the disk. Destroys `file`, also on failure.
bool output_file_finish(struct output_file *file, struct error *error);
void output_file_abort(struct output_file *file); // takes NULL; nothing is left behind

// All of the above for a short text, without a lock.
bool output_file_replace(const char *path, const void *data, size_t bytes, struct error *error);
