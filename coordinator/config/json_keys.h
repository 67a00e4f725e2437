// Typed reading of a JSON object's members for files that people write: a wrong type is refused with the
// member's whole name and what was expected, and members that nobody asked for can be listed. Private to this
// folder.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum { JSON_KEYS_PREFIX_SIZE = 64 };

struct json_keys {
	const char *path;                   // of the file, for messages; borrowed
	char prefix[JSON_KEYS_PREFIX_SIZE]; // "optimizer.params."; "" for the whole file
	const json_t *object;               // borrowed
	json_t *asked;                      // the names that were asked for; owned
};

// `object` may be NULL: as one without members. False when memory is out.
bool json_keys_init(struct json_keys *keys, const char *path, const char *prefix, const json_t *object,
		    struct error *error);
void json_keys_fini(struct json_keys *keys);

// Each leaves `value` untouched where the member is absent or null.
bool json_keys_number(struct json_keys *keys, const char *name, double minimum, double maximum, double *value,
		      struct error *error);
bool json_keys_count(struct json_keys *keys, const char *name, uint32_t minimum, uint32_t maximum, uint32_t *value,
		     struct error *error);
bool json_keys_boolean(struct json_keys *keys, const char *name, bool *value, struct error *error);
// Cut to `size`, and printable.
bool json_keys_string(struct json_keys *keys, const char *name, char *value, size_t size, struct error *error);
// *value is NULL where the member is absent; borrowed otherwise.
bool json_keys_object(struct json_keys *keys, const char *name, const json_t **value, struct error *error);
bool json_keys_pair(struct json_keys *keys, const char *name, double minimum, double maximum, double value[2],
		    struct error *error);

bool json_keys_has(const struct json_keys *keys, const char *name); // absent and null are false
void json_keys_ignore(struct json_keys *keys, const char *name);    // as if it had been asked for
// Where it is the boolean `value`: what it then asks for is what there is.
void json_keys_ignore_where(struct json_keys *keys, const char *name, bool value);

// Appends "prefix.name, prefix.name" of the members that nobody asked for; "and N more" where they do not
// fit. One that is null is as absent. A member that is an object is named whole; one with "enabled": false is left out, for it asks for
// nothing, and one with "enabled": true is named as "name.enabled".
void json_keys_list_unknown(const struct json_keys *keys, char *list, size_t size);
