// Where --json's lines go: a file, or standard output for "-". One thread.
//
// With "-", standard output gets the JSON lines alone: what the command prints for people goes to standard error from then on. A file
// is locked against a second job. Its earlier content is replaced when the first line is really written, so a job that fails before
// json_output_begin leaves it as it was. A file always ends with a whole line, also on a full disk.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/base/error.h"

struct json_output;

// `path` is borrowed. ERROR_USAGE when it cannot be written to, or another process is writing it.
bool json_output_open(const char *path, struct json_output **ret_output, struct error *error);
// Writes whole lines. They wait for json_output_begin when the file has earlier content. The first failure is a warning at once, in its
// own words: the job goes on, and its end may be hours away.
void json_output_put(struct json_output *output, const char *lines, size_t size);
void json_output_begin(struct json_output *output);
// For those who write all at their end: what is printed here is put and begun by json_output_close. NULL: out of memory. Borrowed.
FILE *json_output_stream(struct json_output *output);
// False when lines are missing. Takes NULL.
bool json_output_close(struct json_output *output, struct error *error);
