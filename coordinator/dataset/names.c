// See names.h.
#include "coordinator/dataset/names.h"

#include <stdlib.h>
#include <string.h>

// Makes room for `wanted` elements; at least doubles it.
static bool grow(void **memory, uint64_t *room, uint64_t wanted, size_t size)
{
	uint64_t more = *room * 2 > wanted ? *room * 2 : wanted + 1024;
	if (wanted <= *room)
		return true;
	void *grown = realloc(*memory, more * size);
	if (grown == NULL)
		return false;
	*memory = grown;
	*room = more;
	return true;
}

bool names_add(struct names *names, const char *name, struct error *error)
{
	size_t length = strlen(name) + 1;
	if (!grow((void **)&names->text, &names->room_bytes, names->used_bytes + length, 1) ||
	    !grow((void **)&names->offsets, &names->room, names->count + 1, sizeof(*names->offsets)))
		return error_set(error, ERROR_FAILED, "no memory for the names of its files");
	memcpy(names->text + names->used_bytes, name, length);
	names->offsets[names->count++] = names->used_bytes;
	names->used_bytes += length;
	return true;
}

void names_fini(struct names *names)
{
	free(names->text);
	free(names->offsets);
	*names = (struct names){0};
}
