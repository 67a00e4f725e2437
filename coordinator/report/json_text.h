// A JSON value as one line of text. Any thread.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/base/error.h"

// Each number has the fewest digits that read as the same double: 0.1, where jansson alone writes 0.10000000000000001. Returns owned; NULL: out
// of memory.
char *json_text(const json_t *value);
// Writes the line and flushes it. Takes the object; NULL: memory was out when it was made. The error begins with "--json: ".
bool json_text_write(FILE *file, json_t *object, struct error *error);
