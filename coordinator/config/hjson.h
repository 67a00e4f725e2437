// Hjson, JSON for people: comments, keys and strings without quotes, ''' strings over several lines, commas that may be left out
// or follow the last member, and a root without braces. It reads what Python's package hjson reads, with which DeepSpeed
// loads ds_config.json. One thread at a time.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "coordinator/config/mistakes.h"

enum { HJSON_MAXIMUM_DEPTH = 256 };

struct hjson;

// The root is an object; an empty text is an empty object. Mistakes of syntax are added to `mistakes`, as is a key that an
// object has twice; parsing goes on behind each where it can. True if the values are complete: duplicate keys alone do not
// change that. False also when memory is out, which `mistakes` then notes. `*ret_document` is owned in the first case.
bool hjson_parse(const char *text, size_t size, struct mistakes *mistakes, struct hjson **ret_document);
void hjson_destroy(struct hjson *document); // may be NULL

json_t *hjson_root(const struct hjson *document); // borrowed; may be changed
// The place of the member's key; line 0 where the text has no such member, or its value was replaced since.
struct mistakes_place hjson_place(const struct hjson *document, const json_t *object, const char *key);
