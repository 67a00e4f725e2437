// The coordinator's data comes in one order, in one size, a few steps ahead.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "stage_server/executor/batches.h"
#include "tests/unit/rpc/incoming.h"

enum { IMAGE_BYTES = 24, LABELS = 2, MICRO_BATCHES = 3, STEPS = 2 };

static struct batches *make(void)
{
	struct batches *batches = NULL;
	struct batches_options options = {
		.bytes = {IMAGE_BYTES, LABELS}, .micro_batches = MICRO_BATCHES, .steps = STEPS, .classes = 10};
	assert_true(batches_create(&options, &batches, NULL));
	assert_true(batches_allocate(batches, &buffer_library_memory, NULL));
	return batches;
}

static bool put(struct batches *batches, enum batch_kind kind, uint64_t step, uint32_t micro_batch, const void *data,
		size_t size, struct error *error)
{
	struct rpc_incoming incoming;
	grpc_byte_buffer *buffer = incoming_payload(data, size);
	message_inspect(buffer, &incoming);
	bool ok = batches_put(batches, kind, step, micro_batch, &incoming, error);
	grpc_byte_buffer_destroy(buffer);
	return ok;
}

static void batches_in_order_are_taken_as_they_came(void **state)
{
	struct batches *batches = make();
	struct error error;
	for (uint64_t n = 0; n < 20; n++) {
		uint8_t image[IMAGE_BYTES], labels[LABELS] = {(uint8_t)(n % 10), 9};
		memset(image, (int)n, sizeof(image));
		assert_true(put(batches, BATCH_IMAGES, n / 3, n % 3, image, sizeof(image), &error));
		assert_true(put(batches, BATCH_LABELS, n / 3, n % 3, labels, sizeof(labels), &error));
		assert_memory_equal(batches_take(batches, BATCH_IMAGES), image, sizeof(image));
		batches_release(batches, BATCH_IMAGES);
		assert_memory_equal(batches_take(batches, BATCH_LABELS), labels, sizeof(labels));
		batches_release(batches, BATCH_LABELS);
	}
	batches_destroy(batches);
}

static void refuse(struct batches *batches, enum batch_kind kind, uint64_t step, uint32_t micro_batch, size_t size,
		   const char *why)
{
	static const uint8_t zeros[64];
	struct error error;
	assert_false(put(batches, kind, step, micro_batch, zeros, size, &error));
	if (strstr(error.message, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.message, why);
}

static void batches_put_out_of_order_is_refused(void **state)
{
	struct batches *batches = make();
	refuse(batches, BATCH_IMAGES, 0, 1, IMAGE_BYTES, "expected step 0, micro-batch 0");
	refuse(batches, BATCH_IMAGES, 1, 0, IMAGE_BYTES, "expected step 0");
	refuse(batches, BATCH_IMAGES, 0, 0, IMAGE_BYTES - 1, "24 bytes");
	refuse(batches, BATCH_IMAGES, 0, 0, IMAGE_BYTES + 1, "25 bytes came");
	batches_destroy(batches);
}

static void batches_put_too_far_ahead_is_refused(void **state)
{
	struct batches *batches = make();
	static const uint8_t labels[LABELS];
	struct error error;
	for (uint32_t n = 0; n < MICRO_BATCHES * STEPS; n++)
		assert_true(put(batches, BATCH_LABELS, n / 3, n % 3, labels, sizeof(labels), &error));
	refuse(batches, BATCH_LABELS, 2, 0, LABELS, "ahead");
	batches_destroy(batches);
}

static void batches_put_label_beyond_the_classes_is_refused(void **state)
{
	struct batches *batches = make();
	const uint8_t labels[LABELS] = {3, 10};
	struct error error;
	assert_false(put(batches, BATCH_LABELS, 0, 0, labels, sizeof(labels), &error));
	assert_non_null(strstr(error.message, "label 10 of sample 1"));
	batches_destroy(batches);
}

static void batches_put_kind_that_the_stage_takes_not_is_refused(void **state)
{
	struct batches *batches = NULL;
	struct batches_options options = {.bytes = {0, LABELS}, .micro_batches = 1, .steps = 1, .classes = 10};
	assert_true(batches_create(&options, &batches, NULL));
	assert_true(batches_allocate(batches, &buffer_library_memory, NULL));
	refuse(batches, BATCH_IMAGES, 0, 0, IMAGE_BYTES, "needs none");
	batches_destroy(batches);
}

static void batches_take_closed_gives_nothing(void **state)
{
	struct batches *batches = make();
	batches_close(batches);
	assert_null(batches_take(batches, BATCH_IMAGES));
	batches_destroy(batches);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_in_order_are_taken_as_they_came),
		cmocka_unit_test(batches_put_out_of_order_is_refused),
		cmocka_unit_test(batches_put_too_far_ahead_is_refused),
		cmocka_unit_test(batches_put_label_beyond_the_classes_is_refused),
		cmocka_unit_test(batches_put_kind_that_the_stage_takes_not_is_refused),
		cmocka_unit_test(batches_take_closed_gives_nothing),
	};
	grpc_init();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
