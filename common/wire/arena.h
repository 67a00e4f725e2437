// Memory that is allocated piece by piece and freed at once: what a message unpacks to, and our structs beside it. One thread.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ARENA_FIRST_BYTES = 960 }; // enough for most messages: with its header, one small block of the C library

struct arena_block;

struct arena {
	uint8_t *at, *end;
	struct arena_block *blocks; // beyond the first
	bool failed;                // some allocation did
	ProtobufCMessage *message;  // freed with it; NULL: none
	ProtobufCAllocator allocator;
};

// Allocates from `first`, [size] bytes that outlive the arena, and then from the C library.
void arena_init(struct arena *arena, void *first, size_t size);
void arena_fini(struct arena *arena);
// One whose first bytes lie in a block with it. NULL when memory is out.
struct arena *arena_create(void);
void arena_destroy(struct arena *arena); // takes NULL
// Zeros, aligned for any type. NULL when memory is out; `failed` remembers it.
void *arena_allocate(struct arena *arena, size_t bytes);
