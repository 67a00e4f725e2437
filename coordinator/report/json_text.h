// A JSON value as one line of text. Any thread.
#pragma once

#include <jansson.h>

// Each number has the fewest digits that read as the same double: 0.1, where jansson alone writes 0.10000000000000001. Returns owned; NULL when
// memory is out.
char *json_text(const json_t *value);
