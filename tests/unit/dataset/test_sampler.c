// The sampler: permutations, their independence, and their being pure functions of seed and step.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/dataset/sampler.h"

static struct sampler *create(uint64_t samples, uint32_t batch, bool shuffle, uint64_t seed)
{
	struct sampler *sampler = NULL;
	struct error error = {0};
	assert_true(sampler_create(samples, batch, shuffle, seed, &sampler, &error));
	return sampler;
}

static void batch_shuffled_epoch_sees_each_sample_at_most_once(void **state)
{
	enum { SAMPLES = 1003, BATCH = 10 };
	struct sampler *sampler = create(SAMPLES, BATCH, true, 5);
	assert_int_equal(sampler_steps_per_epoch(sampler), 100);
	for (uint64_t epoch = 0; epoch < 3; epoch++) {
		uint8_t seen[SAMPLES] = {0};
		for (uint64_t step = 0; step < 100; step++) {
			uint64_t indices[BATCH];
			sampler_batch(sampler, epoch * 100 + step, indices);
			for (int i = 0; i < BATCH; i++) {
				assert_true(indices[i] < SAMPLES);
				assert_int_equal(seen[indices[i]]++, 0);
			}
		}
	}
	sampler_destroy(sampler);
}

static void batch_without_shuffle_is_the_files_order(void **state)
{
	struct sampler *sampler = create(7, 3, false, 5);
	const uint64_t expected[4][3] = {{0, 1, 2}, {3, 4, 5}, {0, 1, 2}, {3, 4, 5}}; // 6 is dropped
	for (uint64_t step = 0; step < 4; step++) {
		uint64_t indices[3];
		sampler_batch(sampler, step, indices);
		assert_memory_equal(indices, expected[step], sizeof(indices));
	}
	sampler_destroy(sampler);
}

static void batch_any_order_of_calls_is_the_same(void **state)
{
	enum { BATCH = 8, STEPS = 48 };
	struct sampler *forward = create(64, BATCH, true, 9), *backward = create(64, BATCH, true, 9);
	uint64_t in_order[STEPS][BATCH], indices[BATCH];
	for (uint64_t step = 0; step < STEPS; step++)
		sampler_batch(forward, step, in_order[step]);
	for (uint64_t step = STEPS; step-- > 0;) {
		sampler_batch(backward, step, indices);
		assert_memory_equal(indices, in_order[step], sizeof(indices));
	}
	sampler_batch(forward, UINT64_MAX, indices); // a far epoch
	for (int i = 0; i < BATCH; i++)
		assert_true(indices[i] < 64);
	sampler_destroy(forward);
	sampler_destroy(backward);
}

static void batch_other_seed_or_epoch_is_another_order(void **state)
{
	struct sampler *one = create(1000, 1000, true, 1), *two = create(1000, 1000, true, 2);
	static uint64_t a[1000], b[1000], c[1000];
	sampler_batch(one, 0, a);
	sampler_batch(one, 1, b);
	sampler_batch(two, 0, c);
	unsigned same_epoch = 0, same_seed = 0;
	for (int i = 0; i < 1000; i++) {
		same_epoch += a[i] == b[i];
		same_seed += a[i] == c[i];
	}
	assert_true(same_epoch < 10 && same_seed < 10); // one is expected
	sampler_destroy(one);
	sampler_destroy(two);
}

// Each sample comes first equally often: chi-squared with 19 degrees of freedom is under 50 but once in
// 10,000.
static void batch_first_place_is_uniform(void **state)
{
	enum { SAMPLES = 20, EPOCHS = 20000 };
	for (int place = 0; place < SAMPLES; place += SAMPLES - 1) {
		struct sampler *sampler = create(SAMPLES, SAMPLES, true, 3);
		double counts[SAMPLES] = {0}, chi_squared = 0, expected = (double)EPOCHS / SAMPLES;
		for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
			uint64_t indices[SAMPLES];
			sampler_batch(sampler, epoch, indices);
			counts[indices[place]]++;
		}
		for (int i = 0; i < SAMPLES; i++)
			chi_squared += (counts[i] - expected) * (counts[i] - expected) / expected;
		assert_true(chi_squared < 50);
		sampler_destroy(sampler);
	}
}

static void create_impossible_batch_is_refused_with_both_numbers(void **state)
{
	struct sampler *sampler = NULL;
	struct error error = {0};
	assert_false(sampler_create(100, 101, true, 0, &sampler, &error));
	assert_non_null(strstr(error.message, "101"));
	assert_non_null(strstr(error.message, "has 100"));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_false(sampler_create(100, 0, true, 0, &sampler, &error));
	assert_false(sampler_create(0, 1, true, 0, &sampler, &error));
	assert_false(sampler_create(UINT64_C(1) << 33, 1, false, 0, &sampler, &error));
	assert_null(sampler);
	sampler_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batch_shuffled_epoch_sees_each_sample_at_most_once),
		cmocka_unit_test(batch_without_shuffle_is_the_files_order),
		cmocka_unit_test(batch_any_order_of_calls_is_the_same),
		cmocka_unit_test(batch_other_seed_or_epoch_is_another_order),
		cmocka_unit_test(batch_first_place_is_uniform),
		cmocka_unit_test(create_impossible_batch_is_refused_with_both_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
