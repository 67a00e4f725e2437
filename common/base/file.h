// Whole files that an administrator names, read by a loop that serves others meanwhile: whatever the path leads to, the
// answer comes soon.
// Any thread.
#pragma once

#include <stddef.h>

#include "common/base/error.h"

// Reads all of `path`, which may be a pipe, as "<(command)" makes one. ERROR_USAGE: it cannot be opened or read, is larger
// than `maximum_bytes`, is a terminal, or is a pipe into which nobody writes, or one that does not end within a second.
// The message does not name the path. `*ret_text` has a zero behind `*ret_size` bytes, which may hold others; it is exactly
// that large. Returns owned.
bool file_read(const char *path, size_t maximum_bytes, char **ret_text, size_t *ret_size, struct error *error);

// Writes what standard output still holds. The error says why this or an earlier write failed.
bool file_flush_output(struct error *error);
