// Buffers and pools: references, alignment, waiting, closing, and pools that outlive their owner.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "common/base/buffer.h"

static void create_any_size_is_aligned_and_writable(void **state)
{
	static const size_t sizes[] = {0, 1, 63, 64, 65, 1 << 20};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buffer *buffer = buffer_create(sizes[i]);
		assert_non_null(buffer);
		assert_int_equal((uintptr_t)buffer->data % 64, 0);
		assert_int_equal(buffer->size, sizes[i]);
		memset(buffer->data, 0xa5, sizes[i]);
		buffer_unref(buffer);
	}
	buffer_unref(NULL);
}

static void create_size_that_wraps_gives_null(void **state)
{
	assert_null(buffer_create(SIZE_MAX));
	assert_null(buffer_create(SIZE_MAX - 62));
}

static void unref_last_reference_returns_to_the_pool(void **state)
{
	struct buffer_pool *pool = buffer_pool_create(100, 2, NULL);
	struct buffer *a = buffer_pool_take_within(pool, 0), *b = buffer_pool_take_within(pool, 0);
	assert_non_null(a);
	assert_non_null(b);
	assert_ptr_not_equal(a, b);
	assert_int_equal(a->size, 100);
	assert_null(buffer_pool_take_within(pool, 0));
	assert_ptr_equal(buffer_ref(a), a);
	buffer_unref(a);
	assert_null(buffer_pool_take_within(pool, 0)); // one reference is left
	buffer_unref(a);
	assert_ptr_equal(buffer_pool_take_within(pool, 0), a);
	buffer_unref(a);
	buffer_unref(b);
	buffer_pool_destroy(pool);
	buffer_pool_destroy(NULL);
}

static void destroy_with_buffers_out_keeps_them_valid(void **state)
{
	struct buffer_pool *pool = buffer_pool_create(64, 3, NULL);
	struct buffer *a = buffer_pool_take(pool), *b = buffer_pool_take(pool);
	buffer_pool_destroy(pool);
	memset(a->data, 1, 64);
	memset(b->data, 2, 64);
	buffer_unref(a);
	buffer_unref(b); // frees the pool: the leak checker watches
}

static void close_pool_gives_no_more(void **state)
{
	struct buffer_pool *pool = buffer_pool_create(64, 2, NULL);
	buffer_pool_close(pool);
	assert_null(buffer_pool_take_within(pool, 0));
	assert_null(buffer_pool_take(pool));
	buffer_pool_destroy(pool);
}

struct taker {
	struct buffer_pool *pool;
	struct buffer *taken;
	_Atomic(bool) started;
};

static void *take_one(void *argument)
{
	struct taker *taker = argument;
	atomic_store(&taker->started, true);
	taker->taken = buffer_pool_take(taker->pool);
	return NULL;
}

static pthread_t start_taker(struct taker *taker)
{
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, take_one, taker), 0);
	while (!atomic_load(&taker->started))
		continue;
	return thread;
}

static void take_waits_until_one_comes_back(void **state)
{
	struct buffer_pool *pool = buffer_pool_create(64, 1, NULL);
	struct buffer *only = buffer_pool_take(pool);
	struct taker taker = {.pool = pool};
	pthread_t thread = start_taker(&taker);
	buffer_unref(only);
	pthread_join(thread, NULL);
	assert_ptr_equal(taker.taken, only);
	buffer_unref(taker.taken);
	buffer_pool_destroy(pool);
}

static void close_wakes_every_waiter(void **state)
{
	struct buffer_pool *pool = buffer_pool_create(64, 1, NULL);
	struct buffer *only = buffer_pool_take(pool);
	struct taker takers[3] = {{.pool = pool}, {.pool = pool}, {.pool = pool}};
	pthread_t threads[3];
	for (int i = 0; i < 3; i++)
		threads[i] = start_taker(&takers[i]);
	buffer_pool_close(pool);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_null(takers[i].taken);
	}
	buffer_unref(only);
	buffer_pool_destroy(pool);
}

struct waiter {
	struct buffer_pool *pool;
	_Atomic(bool) started, last_goes_back;
	bool waited; // when the last one went back, and not before
};

static void *wait_for_all(void *argument)
{
	struct waiter *waiter = argument;
	atomic_store(&waiter->started, true);
	buffer_pool_wait(waiter->pool);
	waiter->waited = atomic_load(&waiter->last_goes_back);
	return NULL;
}

static void wait_returns_when_the_last_one_came_back(void **state)
{
	struct buffer_pool *pool = buffer_pool_create(64, 3, NULL);
	buffer_pool_wait(pool); // all are there
	struct buffer *a = buffer_pool_take(pool), *b = buffer_pool_take(pool);
	struct waiter waiter = {.pool = pool};
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_all, &waiter), 0);
	while (!atomic_load(&waiter.started))
		sched_yield();
	buffer_unref(a);
	for (int i = 0; i < 100; i++) // one that does not wait would be through by now
		sched_yield();
	atomic_store(&waiter.last_goes_back, true);
	buffer_unref(b);
	pthread_join(thread, NULL);
	assert_true(waiter.waited);
	a = buffer_pool_take(pool);
	buffer_pool_close(pool);
	buffer_pool_wait(pool); // nobody waits in a closed pool
	buffer_unref(a);
	buffer_pool_destroy(pool);
}

struct worker {
	struct buffer_pool *pool;
	uint8_t mark;
	bool clean;
};

// Marks a buffer, and sees that nobody else marked it meanwhile.
static void *work(void *argument)
{
	struct worker *worker = argument;
	worker->clean = true;
	for (int round = 0; round < 5000; round++) {
		struct buffer *buffer = buffer_pool_take(worker->pool);
		memset(buffer->data, worker->mark, buffer->size);
		buffer_ref(buffer);
		buffer_unref(buffer);
		for (size_t i = 0; i < buffer->size; i++)
			worker->clean = worker->clean && buffer->data[i] == worker->mark;
		buffer_unref(buffer);
	}
	return NULL;
}

static void take_many_threads_never_share_a_buffer(void **state)
{
	enum { THREADS = 6 };
	struct buffer_pool *pool = buffer_pool_create(128, 2, NULL);
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.pool = pool, .mark = (uint8_t)(i + 1)};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(workers[i].clean);
	}
	buffer_pool_destroy(pool);
}

static void *unref_one(void *argument)
{
	buffer_unref(argument);
	return NULL;
}

// The owner lets go while the last buffer comes back on another thread: whoever is last frees the pool, once.
static void destroy_while_the_last_buffer_returns_frees_once(void **state)
{
	for (int round = 0; round < 300; round++) {
		struct buffer_pool *pool = buffer_pool_create(64, 1, NULL);
		struct buffer *only = buffer_pool_take(pool);
		pthread_t thread;
		assert_int_equal(pthread_create(&thread, NULL, unref_one, only), 0);
		buffer_pool_destroy(pool);
		pthread_join(thread, NULL);
	}
}

// Likewise with a thread inside buffer_pool_take, or about to enter it, which gets nothing: the buffer that
// is out keeps the pool alive.
static void destroy_with_a_waiter_inside_wakes_it(void **state)
{
	for (int round = 0; round < 100; round++) {
		struct buffer_pool *pool = buffer_pool_create(64, 1, NULL);
		struct buffer *only = buffer_pool_take(pool);
		struct taker taker = {.pool = pool};
		pthread_t thread = start_taker(&taker);
		buffer_pool_destroy(pool);
		pthread_join(thread, NULL);
		assert_null(taker.taken);
		buffer_unref(only);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_any_size_is_aligned_and_writable),
		cmocka_unit_test(create_size_that_wraps_gives_null),
		cmocka_unit_test(unref_last_reference_returns_to_the_pool),
		cmocka_unit_test(destroy_with_buffers_out_keeps_them_valid),
		cmocka_unit_test(close_pool_gives_no_more),
		cmocka_unit_test(take_waits_until_one_comes_back),
		cmocka_unit_test(close_wakes_every_waiter),
		cmocka_unit_test(wait_returns_when_the_last_one_came_back),
		cmocka_unit_test(take_many_threads_never_share_a_buffer),
		cmocka_unit_test(destroy_while_the_last_buffer_returns_frees_once),
		cmocka_unit_test(destroy_with_a_waiter_inside_wakes_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
