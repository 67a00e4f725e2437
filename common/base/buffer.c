// Reference-counted bytes and pools of them. See buffer.h.
#include "common/base/buffer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

enum { BUFFER_ALIGNMENT = 64 };

struct buffer_pool {
	struct buffer_memory memory;
	pthread_mutex_t mutex;
	pthread_cond_t returned;
	struct buffer *free_list;
	uint32_t outstanding; // buffers taken and not yet back
	uint32_t waiting;     // threads inside buffer_pool_take and buffer_pool_take_within
	bool closed;
	bool destroyed; // the owner let go: the last buffer back, or the last waiter out, frees the pool
};

static void *library_allocate(void *user, size_t bytes)
{
	if (bytes > SIZE_MAX - BUFFER_ALIGNMENT)
		return NULL; // the rounding below would wrap
	size_t rounded = (bytes + BUFFER_ALIGNMENT - 1) / BUFFER_ALIGNMENT * BUFFER_ALIGNMENT;
	return aligned_alloc(BUFFER_ALIGNMENT, rounded > 0 ? rounded : BUFFER_ALIGNMENT);
}

static void library_release(void *user, void *memory)
{
	free(memory);
}

const struct buffer_memory buffer_library_memory = {.allocate = library_allocate, .release = library_release};

static struct buffer *create_in(const struct buffer_memory *memory, size_t size)
{
	struct buffer *buffer = calloc(1, sizeof(*buffer));
	if (buffer == NULL)
		return NULL;
	buffer->data = memory->allocate(memory->user, size);
	if (buffer->data == NULL) {
		free(buffer);
		return NULL;
	}
	buffer->size = size;
	atomic_init(&buffer->references, 1);
	return buffer;
}

struct buffer *buffer_create(size_t size)
{
	return create_in(&buffer_library_memory, size);
}

struct buffer *buffer_ref(struct buffer *buffer)
{
	atomic_fetch_add_explicit(&buffer->references, 1, memory_order_relaxed);
	return buffer;
}

static void buffer_free(const struct buffer_memory *memory, struct buffer *buffer)
{
	memory->release(memory->user, buffer->data);
	free(buffer);
}

static bool pool_is_unused_locked(const struct buffer_pool *pool)
{
	return pool->destroyed && pool->outstanding == 0 && pool->waiting == 0;
}

static void pool_free(struct buffer_pool *pool)
{
	while (pool->free_list != NULL) {
		struct buffer *buffer = pool->free_list;
		pool->free_list = buffer->next_free;
		buffer_free(&pool->memory, buffer);
	}
	pthread_cond_destroy(&pool->returned);
	pthread_mutex_destroy(&pool->mutex);
	free(pool);
}

void buffer_unref(struct buffer *buffer)
{
	if (buffer == NULL || atomic_fetch_sub_explicit(&buffer->references, 1, memory_order_acq_rel) != 1)
		return;
	struct buffer_pool *pool = buffer->pool;
	if (pool == NULL) {
		buffer_free(&buffer_library_memory, buffer);
		return;
	}
	pthread_mutex_lock(&pool->mutex);
	buffer->next_free = pool->free_list;
	pool->free_list = buffer;
	pool->outstanding--;
	bool last = pool_is_unused_locked(pool);
	pthread_cond_broadcast(&pool->returned); // not all wait for the same: buffer_pool_wait
	pthread_mutex_unlock(&pool->mutex);
	if (last)
		pool_free(pool);
}

struct buffer_pool *buffer_pool_create(size_t size, uint32_t count, const struct buffer_memory *memory)
{
	struct buffer_pool *pool = calloc(1, sizeof(*pool));
	if (pool == NULL)
		return NULL;
	pool->memory = memory != NULL ? *memory : buffer_library_memory;
	clock_condition_init(&pool->returned);
	pthread_mutex_init(&pool->mutex, NULL);
	for (uint32_t i = 0; i < count; i++) {
		struct buffer *buffer = create_in(&pool->memory, size);
		if (buffer == NULL) {
			pool_free(pool);
			return NULL;
		}
		if (!pool->memory.is_device)
			memset(buffer->data, 0, size);
		buffer->pool = pool;
		buffer->next_free = pool->free_list;
		pool->free_list = buffer;
	}
	return pool;
}

static struct buffer *pool_take_locked(struct buffer_pool *pool)
{
	if (pool->closed || pool->free_list == NULL)
		return NULL;
	struct buffer *buffer = pool->free_list;
	pool->free_list = buffer->next_free;
	pool->outstanding++;
	atomic_store_explicit(&buffer->references, 1, memory_order_relaxed);
	return buffer;
}

// `until` NULL: as long as it takes.
static struct buffer *take_until(struct buffer_pool *pool, const struct timespec *until)
{
	pthread_mutex_lock(&pool->mutex);
	pool->waiting++;
	bool late = false;
	while (!pool->closed && pool->free_list == NULL && !late)
		late = (until == NULL ? pthread_cond_wait(&pool->returned, &pool->mutex)
				      : pthread_cond_timedwait(&pool->returned, &pool->mutex, until)) == ETIMEDOUT;
	pool->waiting--;
	struct buffer *buffer = pool_take_locked(pool);
	bool last = pool_is_unused_locked(pool);
	pthread_mutex_unlock(&pool->mutex);
	if (last)
		pool_free(pool);
	return buffer;
}

struct buffer *buffer_pool_take(struct buffer_pool *pool)
{
	return take_until(pool, NULL);
}

struct buffer *buffer_pool_take_within(struct buffer_pool *pool, uint32_t limit_ms)
{
	struct timespec until = clock_after_ms(limit_ms);
	return take_until(pool, &until);
}

void buffer_pool_wait(struct buffer_pool *pool)
{
	pthread_mutex_lock(&pool->mutex);
	pool->waiting++;
	while (!pool->closed && pool->outstanding > 0)
		pthread_cond_wait(&pool->returned, &pool->mutex);
	pool->waiting--;
	bool last = pool_is_unused_locked(pool);
	pthread_mutex_unlock(&pool->mutex);
	if (last)
		pool_free(pool);
}

void buffer_pool_close(struct buffer_pool *pool)
{
	pthread_mutex_lock(&pool->mutex);
	pool->closed = true;
	pthread_cond_broadcast(&pool->returned);
	pthread_mutex_unlock(&pool->mutex);
}

void buffer_pool_destroy(struct buffer_pool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->closed = true;
	pool->destroyed = true;
	bool last = pool_is_unused_locked(pool);
	pthread_cond_broadcast(&pool->returned);
	pthread_mutex_unlock(&pool->mutex);
	if (last)
		pool_free(pool);
}
