// Reference-counted bytes, and a pool of equally sized ones. A buffer from a pool goes back to it when the last
// reference is dropped (by gRPC, after the payload was written, say). Any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Where a pool's bytes come from: memory that a device copies from quickly, say. Aligned to 64 bytes; NULL when it is out.
// Any thread; valid until the pool is freed.
struct buffer_memory {
	void *(*allocate)(void *user, size_t bytes);
	void (*release)(void *user, void *memory);
	void *user;
	bool is_device; // the host cannot touch it
};

extern const struct buffer_memory buffer_library_memory;

struct buffer {
	uint8_t *data; // aligned to 64 bytes
	size_t size;
	// Private:
	struct buffer_pool *pool; // NULL: freed on the last unref
	struct buffer *next_free;
	_Atomic(uint32_t) references;
};

struct buffer *buffer_create(size_t size); // returns owned, one reference; NULL when memory is out
struct buffer *buffer_ref(struct buffer *buffer);
void buffer_unref(struct buffer *buffer); // takes NULL

struct buffer_pool;

// `count` buffers of `size` bytes, allocated at once and touched, so that taking one never fails for memory. `memory` NULL: the
// C library's.
struct buffer_pool *buffer_pool_create(size_t size, uint32_t count, const struct buffer_memory *memory);
// Waits until the pool has a free buffer; NULL once buffer_pool_close was called. Returns owned.
struct buffer *buffer_pool_take(struct buffer_pool *pool);
// Waits no longer than `limit_ms` (0: not at all); NULL then, and when the pool is closed. Returns owned.
struct buffer *buffer_pool_take_within(struct buffer_pool *pool, uint32_t limit_ms);
void buffer_pool_wait(struct buffer_pool *pool);  // until every buffer has come back, or the pool is closed
void buffer_pool_close(struct buffer_pool *pool); // wakes every waiter; does not block
// Closes; memory goes when the last buffer has come back, which may be after this returns. Takes NULL.
void buffer_pool_destroy(struct buffer_pool *pool);
