// Many names in one piece of memory, numbered from 0: paths of a million files take little more than their bytes. One thread; once no more
// are added, any.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct names {
	char *text;
	uint64_t *offsets; // [count]
	uint64_t count, room, used_bytes, room_bytes;
};

bool names_add(struct names *names, const char *name, struct error *error);
void names_fini(struct names *names);
// Borrows until the next names_add.
static inline const char *names_get(const struct names *names, uint64_t index)
{
	return names->text + names->offsets[index];
}
