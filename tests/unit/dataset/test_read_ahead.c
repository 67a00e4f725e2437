// Reading ahead: the order of a run, errors in their place, and an end at any moment.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "coordinator/dataset/read_ahead.h"
#include "tests/unit/dataset/pictures.h"

enum { IMAGES = 40, SIDE = 4, IMAGE_BYTES = 3 * SIDE * SIDE, N = 3, M = 2, D = 2, STEPS = 7, BAD = 39 };

static char folder[64];
static struct dataset *dataset;
static struct sampler *sampler;

// Images of seeds 0 to 39, half of them in each class. Slow to read, so that there are several threads where the machine has them.
static int open_dataset(void **state)
{
	struct error error;
	char path[100];
	strcpy(folder, "/tmp/penstock-test-XXXXXX");
	if (mkdtemp(folder) == NULL || run_command("mkdir %s/a %s/b", folder, folder) != 0)
		return -1;
	for (unsigned i = 0; i < IMAGES; i++) {
		snprintf(path, sizeof(path), "%s/%s/%02u.png", folder, i < IMAGES / 2 ? "a" : "b", i);
		if (!picture_write(path, i, SIDE, SIDE))
			return -1;
	}
	return dataset_open(folder, 8, &dataset, &error) && sampler_create(IMAGES, N * M * D, true, 1, &sampler, &error)
		       ? 0
		       : -1;
}

static int close_dataset(void **state)
{
	sampler_destroy(sampler);
	dataset_close(dataset);
	return run_command("rm -rf %s", folder);
}

static struct read_ahead *start(uint64_t steps)
{
	struct read_ahead_options options = {.dataset = dataset,
					     .sampler = sampler,
					     .steps = steps,
					     .micro_batch_size = N,
					     .micro_batches = M,
					     .replicas = D};
	struct read_ahead *ahead;
	struct error error = {0};
	if (!read_ahead_start(&options, &ahead, &error))
		fail_msg("%s", error.message);
	return ahead;
}

// The i-th micro-batch of a step whose samples these are.
static void assert_micro_batch(struct buffer *const data[DATASET_INPUTS], const uint64_t *indices, uint32_t i)
{
	const uint64_t *own = indices + (i % D * M + i / D) * N; // all replicas' first ones first
	assert_int_equal(data[DATASET_IMAGES]->size, N * IMAGE_BYTES);
	assert_int_equal(data[DATASET_LABELS]->size, N);
	for (uint32_t k = 0; k < N; k++) {
		assert_int_equal(data[DATASET_LABELS]->data[k], own[k] >= IMAGES / 2);
		assert_int_equal(data[DATASET_IMAGES]->data[k * IMAGE_BYTES], picture_value((unsigned)own[k], 0, 0, 0));
	}
}

static void take_gives_the_samples_of_each_step_in_order(void **state)
{
	uint64_t indices[STEPS][N * M * D];
	for (uint64_t step = 0; step < STEPS; step++) // over several epochs
		sampler_batch(sampler, step, indices[step]);
	struct read_ahead *ahead = start(STEPS);
	for (uint32_t i = 0; i < STEPS * M * D; i++) {
		struct buffer *data[DATASET_INPUTS];
		struct error error = {0};
		if (i % (M * D) == 0)
			assert_true(read_ahead_wait(ahead, 60000));
		assert_true(read_ahead_take(ahead, data, &error));
		assert_micro_batch(data, indices[i / (M * D)], i % (M * D));
		buffer_unref(data[DATASET_IMAGES]);
		buffer_unref(data[DATASET_LABELS]);
	}
	assert_false(read_ahead_wait(ahead, 0)); // nothing more is read
	read_ahead_stop(ahead);
}

static void take_fails_where_a_sample_cannot_be_read(void **state)
{
	uint64_t indices[N * M * D], step = 0;
	uint32_t bad = UINT32_MAX, taken = 0;
	for (; bad == UINT32_MAX; step++) {
		sampler_batch(sampler, step, indices);
		for (uint32_t i = 0; i < M * D; i++)
			for (uint32_t k = 0; k < N; k++)
				if (indices[(i % D * M + i / D) * N + k] == BAD && bad == UINT32_MAX)
					bad = (uint32_t)step * M * D + i;
	}
	assert_int_equal(run_command("rm %s/b/%d.png", folder, BAD), 0);
	struct read_ahead *ahead = start(100);
	struct buffer *data[DATASET_INPUTS];
	struct error error = {0};
	while (read_ahead_take(ahead, data, &error)) {
		buffer_unref(data[DATASET_IMAGES]);
		buffer_unref(data[DATASET_LABELS]);
		taken++;
	}
	assert_int_equal(taken, bad);
	assert_non_null(strstr(error.message, "dataset: image 39 (from 0): "));
	assert_non_null(strstr(error.message, "/b/39.png: No such file"));
	assert_true(read_ahead_wait(ahead, 0)); // it is known
	assert_false(read_ahead_take(ahead, data, NULL));
	read_ahead_stop(ahead);
}

static void stop_ends_at_any_moment(void **state)
{
	for (uint32_t taken = 0; taken < 2 * M * D; taken++) {
		struct read_ahead *ahead = start(1000);
		for (uint32_t i = 0; i < taken; i++) {
			struct buffer *data[DATASET_INPUTS];
			struct error error;
			assert_true(read_ahead_take(ahead, data, &error));
			buffer_unref(data[DATASET_IMAGES]);
			buffer_unref(data[DATASET_LABELS]);
		}
		read_ahead_stop(ahead);
	}
	read_ahead_stop(NULL);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_dataset, close_dataset)
	const struct CMUnitTest tests[] = {
		CASE(take_gives_the_samples_of_each_step_in_order),
		CASE(take_fails_where_a_sample_cannot_be_read),
		CASE(stop_ends_at_any_moment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
