// The mailbox takes exactly the chunks that the plan foresees, in any interleaving of connections, and refuses the rest.
#include "tests/unit/cmocka_all.h"

#include <pthread.h>
#include <string.h>

#include "common/wire/types.h"
#include "stage_server/exchange/mailbox.h"

enum { CHUNK = 4096, TENSOR = 2 * 3 * 17 * 41 * 4 /* 16728: five chunks, the last one short */ };

static const uint32_t order[] = {0, 1, 2};

static struct mailbox *make(uint32_t depth, uint32_t connections)
{
	struct mailbox_options options = {
		.shape = {.rank = 4, .dimensions = {2, 3, 17, 41}, .bytes = TENSOR},
		.kind = TENSOR_GRADIENT,
		.depth = depth,
		.connections = connections,
		.chunk_bytes = CHUNK,
		.tensors_per_step = 3,
		.order = order,
		.memory = &buffer_library_memory,
	};
	struct mailbox *mailbox = NULL;
	struct error error;
	assert_true(mailbox_create(&options, &mailbox, &error));
	return mailbox;
}

static struct tensor_chunk chunk_of(uint64_t step, uint32_t micro_batch, uint32_t index)
{
	static uint32_t dimensions[] = {2, 3, 17, 41};
	struct tensor_chunk chunk = {0};
	chunk.step = step;
	chunk.micro_batch = micro_batch;
	chunk.kind = TENSOR_GRADIENT;
	chunk.dtype = wire_data_type(DATA_FLOAT32);
	chunk.rank = 4;
	chunk.shape = dimensions;
	chunk.offset_bytes = (uint64_t)index * CHUNK;
	return chunk;
}

static size_t size_of(uint32_t index)
{
	return index == 4 ? TENSOR - 4 * CHUNK : CHUNK;
}

static void put(struct mailbox *mailbox, uint32_t connection, uint64_t step, uint32_t micro_batch, uint32_t index)
{
	struct error error;
	uint8_t *destination = NULL;
	struct tensor_chunk chunk = chunk_of(step, micro_batch, index);
	if (!mailbox_begin_chunk(mailbox, connection, &chunk, size_of(index), &destination, &error))
		fail_msg("%s", error.message);
	memset(destination, (int)(16 * micro_batch + index), size_of(index));
	mailbox_end_chunk(mailbox, connection);
}

static void refuse(struct mailbox *mailbox, uint32_t connection, const struct tensor_chunk *chunk, size_t size,
		   const char *why)
{
	struct error error;
	uint8_t *destination = NULL;
	assert_false(mailbox_begin_chunk(mailbox, connection, chunk, size, &destination, &error));
	assert_int_equal(error.code, ERROR_PROTOCOL);
	if (strstr(error.message, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.message, why);
}

static void take(struct mailbox *mailbox, uint32_t micro_batch)
{
	const void *values = NULL;
	assert_int_equal(mailbox_take(mailbox, &values), MAILBOX_OK);
	const uint8_t *bytes = values;
	for (uint32_t index = 0; index < 5; index++)
		for (size_t i = 0; i < size_of(index); i++)
			assert_int_equal(bytes[(size_t)index * CHUNK + i], 16 * micro_batch + index);
	mailbox_release(mailbox);
}

static void mailbox_chunks_over_connections_make_whole_tensors(void **state)
{
	struct mailbox *mailbox = make(2, 2);
	// Connection 1 runs ahead of connection 0, across two tensors.
	put(mailbox, 1, 0, 0, 1);
	put(mailbox, 1, 0, 0, 3);
	put(mailbox, 1, 0, 1, 1);
	put(mailbox, 0, 0, 0, 0);
	put(mailbox, 0, 0, 0, 2);
	put(mailbox, 0, 0, 0, 4);
	take(mailbox, 0);
	put(mailbox, 0, 0, 1, 0);
	put(mailbox, 0, 0, 1, 2);
	put(mailbox, 1, 0, 1, 3);
	put(mailbox, 0, 0, 1, 4);
	take(mailbox, 1);
	mailbox_destroy(mailbox);
}

static void mailbox_steps_follow_each_other_through_the_ring(void **state)
{
	struct mailbox *mailbox = make(2, 1);
	for (uint64_t number = 0; number < 12; number++) {
		for (uint32_t index = 0; index < 5; index++)
			put(mailbox, 0, number / 3, (uint32_t)(number % 3), index);
		take(mailbox, (uint32_t)(number % 3));
	}
	mailbox_destroy(mailbox);
}

static void mailbox_begin_chunk_unexpected_is_refused_with_both(void **state)
{
	struct mailbox *mailbox = make(2, 1);
	struct tensor_chunk chunk = chunk_of(1, 0, 0);
	refuse(mailbox, 0, &chunk, CHUNK, "step 1");
	chunk = chunk_of(0, 1, 0);
	refuse(mailbox, 0, &chunk, CHUNK, "expected step 0, micro-batch 0");
	chunk = chunk_of(0, 0, 1); // one is missing
	refuse(mailbox, 0, &chunk, CHUNK, "expected step 0, micro-batch 0, bytes 0+4096");
	chunk = chunk_of(0, 0, 0);
	refuse(mailbox, 0, &chunk, CHUNK - 1, "0+4095");
	refuse(mailbox, 0, &chunk, CHUNK + 1, "0+4097");
	put(mailbox, 0, 0, 0, 0);
	refuse(mailbox, 0, &chunk, CHUNK, "bytes 4096+4096"); // repeated
	chunk = chunk_of(0, 0, 1);
	chunk.offset_bytes = UINT64_MAX;
	refuse(mailbox, 0, &chunk, CHUNK, "18446744073709551615");
	mailbox_destroy(mailbox);
}

static void mailbox_begin_chunk_other_tensor_is_refused_with_both_shapes(void **state)
{
	struct mailbox *mailbox = make(2, 1);
	uint32_t transposed[] = {2, 3, 41, 17};
	struct tensor_chunk chunk = chunk_of(0, 0, 0);
	chunk.shape = transposed;
	refuse(mailbox, 0, &chunk, CHUNK, "shape (2, 3, 41, 17), expected (2, 3, 17, 41)");
	chunk = chunk_of(0, 0, 0);
	chunk.rank = 0;
	refuse(mailbox, 0, &chunk, CHUNK, "shape (), expected");
	chunk = chunk_of(0, 0, 0);
	chunk.dtype = 2;
	refuse(mailbox, 0, &chunk, CHUNK, "dtype");
	chunk = chunk_of(0, 0, 0);
	chunk.kind = TENSOR_ACTIVATION;
	refuse(mailbox, 0, &chunk, CHUNK, "an activation came");
	mailbox_destroy(mailbox);
}

static void mailbox_begin_chunk_beyond_the_credits_is_refused(void **state)
{
	struct mailbox *mailbox = make(1, 1);
	for (uint32_t index = 0; index < 5; index++)
		put(mailbox, 0, 0, 0, index);
	struct tensor_chunk chunk = chunk_of(0, 1, 0);
	refuse(mailbox, 0, &chunk, CHUNK, "without a credit");
	take(mailbox, 0);
	put(mailbox, 0, 0, 1, 0);
	mailbox_destroy(mailbox);
}

static void mailbox_begin_chunk_on_a_connection_without_chunks_is_refused(void **state)
{
	struct mailbox *mailbox = make(1, 8);
	struct tensor_chunk chunk = chunk_of(0, 0, 0);
	refuse(mailbox, 6, &chunk, CHUNK, "none to carry");
	mailbox_destroy(mailbox);
}

static void *wait_for_tensor(void *mailbox)
{
	const void *values = NULL;
	return (void *)(intptr_t)mailbox_take(mailbox, &values);
}

static void mailbox_lose_wakes_the_waiter_but_keeps_whole_tensors(void **state)
{
	struct mailbox *mailbox = make(2, 1);
	pthread_t thread;
	void *status;
	for (uint32_t index = 0; index < 5; index++)
		put(mailbox, 0, 0, 0, index);
	mailbox_lose(mailbox);
	take(mailbox, 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_tensor, mailbox), 0);
	pthread_join(thread, &status);
	assert_int_equal((intptr_t)status, MAILBOX_LOST);
	mailbox_destroy(mailbox);
}

static void mailbox_close_wakes_the_waiter(void **state)
{
	struct mailbox *mailbox = make(2, 1);
	pthread_t thread;
	void *status;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_tensor, mailbox), 0);
	mailbox_close(mailbox);
	pthread_join(thread, &status);
	assert_int_equal((intptr_t)status, MAILBOX_CLOSED);
	mailbox_destroy(mailbox);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mailbox_chunks_over_connections_make_whole_tensors),
		cmocka_unit_test(mailbox_steps_follow_each_other_through_the_ring),
		cmocka_unit_test(mailbox_begin_chunk_unexpected_is_refused_with_both),
		cmocka_unit_test(mailbox_begin_chunk_other_tensor_is_refused_with_both_shapes),
		cmocka_unit_test(mailbox_begin_chunk_beyond_the_credits_is_refused),
		cmocka_unit_test(mailbox_begin_chunk_on_a_connection_without_chunks_is_refused),
		cmocka_unit_test(mailbox_lose_wakes_the_waiter_but_keeps_whole_tensors),
		cmocka_unit_test(mailbox_close_wakes_the_waiter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
