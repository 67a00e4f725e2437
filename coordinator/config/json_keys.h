// Reads the members of an object, each with its type. A wrong value is added to the mistakes, with its place, the member's whole name and the
// values that are allowed. Reading continues, so that one run reports all mistakes. Members that were not read can be listed. Private to
// this folder.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/config/hjson.h"

enum { JSON_KEYS_PREFIX_SIZE = 64 };

struct json_keys {
	const struct hjson *document;       // knows places; NULL without a file. Borrowed
	struct mistakes *mistakes;          // borrowed
	struct mistakes_place section;      // of the object's own key
	char prefix[JSON_KEYS_PREFIX_SIZE]; // "optimizer.params."; "" for the whole file
	const json_t *object;               // borrowed
	json_t *asked;                      // the names that were read; owned
};

// The whole file.
void json_keys_init(struct json_keys *keys, const struct hjson *document, const json_t *root,
		    struct mistakes *mistakes);
// The object `name` in `parent`, which may be absent: then it has no members, and false is returned. Wants json_keys_fini in
// either case. `parent` may be finished first.
bool json_keys_open(struct json_keys *keys, struct json_keys *parent, const char *name);
void json_keys_fini(struct json_keys *keys);

// Each is true if the member is right, absent or null; in the last two cases, and when it is wrong, `value` stays.
bool json_keys_number(struct json_keys *keys, const char *name, double minimum, double maximum, double *value);
bool json_keys_count(struct json_keys *keys, const char *name, uint32_t minimum, uint32_t maximum, uint32_t *value);
bool json_keys_boolean(struct json_keys *keys, const char *name, bool *value);
// Cut to `size`, and printable.
bool json_keys_string(struct json_keys *keys, const char *name, char *value, size_t size);
bool json_keys_pair(struct json_keys *keys, const char *name, double minimum, double maximum, double value[2]);

// Notes a mistake at the member, or at the section where the member is absent. The text does not name the place. Always false.
bool json_keys_mistake(const struct json_keys *keys, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

bool json_keys_has(const struct json_keys *keys, const char *name); // absent and null are false
void json_keys_ignore(struct json_keys *keys, const char *name);    // as if it had been read
// If the member is the boolean `value`.
void json_keys_ignore_where(struct json_keys *keys, const char *name, bool value);

// Appends "prefix.name, prefix.name" of the members that were not read, and "and N more" where they do not fit. A member that
// asks for nothing (deepspeed_defaults.h) is left out. An object is named whole, or as "name.enabled" where that is true.
void json_keys_list_unknown(const struct json_keys *keys, char *list, size_t size);
