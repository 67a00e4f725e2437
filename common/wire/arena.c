// See arena.h.
#include "common/wire/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 16 << 10, ALIGNMENT = alignof(max_align_t) };

struct arena_block {
	struct arena_block *next;
	alignas(max_align_t) uint8_t bytes[];
};

static void *allocate(void *arena, size_t bytes)
{
	return arena_allocate(arena, bytes);
}

static void release(void *arena, void *memory)
{
	// With the arena: a message is not freed piece by piece.
}

void arena_init(struct arena *arena, void *first, size_t size)
{
	*arena = (struct arena){.at = first,
				.end = (uint8_t *)first + size,
				.allocator = {.alloc = allocate, .free = release, .allocator_data = arena}};
}

void arena_fini(struct arena *arena)
{
	if (arena->message != NULL)
		protobuf_c_message_free_unpacked(arena->message, NULL);
	for (struct arena_block *block = arena->blocks, *next; block != NULL; block = next) {
		next = block->next;
		free(block);
	}
}

struct own {
	struct arena arena;
	alignas(max_align_t) uint8_t first[ARENA_FIRST_BYTES - sizeof(struct arena)];
};

struct arena *arena_create(void)
{
	struct own *own = malloc(sizeof(*own));
	if (own == NULL)
		return NULL;
	arena_init(&own->arena, own->first, sizeof(own->first));
	return &own->arena;
}

void arena_destroy(struct arena *arena)
{
	if (arena == NULL)
		return;
	arena_fini(arena);
	free(arena);
}

// The rest of the block before is given up.
static bool add_block(struct arena *arena, size_t bytes)
{
	size_t size = bytes < BLOCK_BYTES ? BLOCK_BYTES : bytes;
	struct arena_block *block = malloc(sizeof(*block) + size);
	if (block == NULL)
		return false;
	block->next = arena->blocks;
	arena->blocks = block;
	arena->at = block->bytes;
	arena->end = block->bytes + size;
	return true;
}

void *arena_allocate(struct arena *arena, size_t bytes)
{
	if (bytes > SIZE_MAX / 2)
		arena->failed = true;
	size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (arena->failed || (rounded > (size_t)(arena->end - arena->at) && !add_block(arena, rounded))) {
		arena->failed = true;
		return NULL;
	}
	void *memory = arena->at;
	arena->at += rounded;
	return memset(memory, 0, bytes);
}
