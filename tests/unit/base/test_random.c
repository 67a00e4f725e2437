// Philox against the known-answer vectors published with it (Random123's kat_vectors), and what is built on
// it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/base/random.h"

static void block_known_answers_are_met(void **state)
{
	static const struct {
		uint32_t counter[4], key[2], expected[4];
	} vectors[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
		 {0xffffffff, 0xffffffff},
		 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
		 {0xa4093822, 0x299f31d0},
		 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const uint32_t *c = vectors[i].counter;
		uint32_t words[4];
		random_block((struct random_key){{vectors[i].key[0], vectors[i].key[1]}}, (uint64_t)c[1] << 32 | c[0],
			     (uint64_t)c[3] << 32 | c[2], words);
		assert_memory_equal(words, vectors[i].expected, sizeof(words));
	}
}

static void hash_name_known_answers_are_met(void **state)
{
	assert_true(random_hash_name("") == 0xcbf29ce484222325u);
	assert_true(random_hash_name("a") == 0xaf63dc4c8601ec8cu);
	assert_true(random_hash_name("foobar") == 0x85944171f73967e8u);
}

static void key_make_each_ingredient_changes_the_key(void **state)
{
	const struct random_key keys[] = {
		random_key_make(1, RANDOM_PARAMETERS, 7),
		random_key_make(2, RANDOM_PARAMETERS, 7),
		random_key_make(1, RANDOM_DROPOUT, 7),
		random_key_make(1, RANDOM_PARAMETERS, 8),
		random_key_make(1ull << 32, RANDOM_PARAMETERS, 7),
		random_key_make(1, RANDOM_PARAMETERS, 7ull << 32),
	};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(&keys[i], &keys[j], sizeof(keys[i]));
	const struct random_key again = random_key_make(1, RANDOM_PARAMETERS, 7);
	assert_memory_equal(&again, &keys[0], sizeof(again));
}

static void uniform_ends_are_0_and_below_1(void **state)
{
	assert_true(random_uniform(0) == 0.0f);
	assert_true(random_uniform(UINT32_MAX) < 1.0f);
	assert_true(random_uniform(UINT32_MAX) == 1.0f - 0x1p-24f);
	assert_true(random_uniform(0x80000000u) == 0.5f);
}

static void normal_pair_ends_are_finite(void **state)
{
	static const uint32_t words[] = {0, 1, 0x7fffffff, 0x80000000, UINT32_MAX};
	for (int i = 0; i < 5; i++)
		for (int j = 0; j < 5; j++) {
			float a, b;
			random_normal_pair(words[i], words[j], &a, &b);
			assert_true(isfinite(a) && isfinite(b));
			assert_true(fabsf(a) < 7 && fabsf(b) < 7); // sqrt(64 ln 2) = 6.66
		}
}

static void normal_pair_moments_are_those_of_the_normal(void **state)
{
	enum { BLOCKS = 100000 };
	struct random_key key = random_key_make(3, RANDOM_DATASET, 0);
	double sum = 0, squares = 0, fourths = 0, products = 0;
	for (uint64_t i = 0; i < BLOCKS; i++) {
		uint32_t words[4];
		float a, b;
		random_block(key, i, 0, words);
		random_normal_pair(words[0], words[1], &a, &b);
		sum += a + b;
		squares += (double)a * a + (double)b * b;
		fourths += pow(a, 4) + pow(b, 4);
		products += (double)a * b;
	}
	double n = 2 * BLOCKS; // five standard errors each
	assert_true(fabs(sum / n) < 5 / sqrt(n));
	assert_true(fabs(squares / n - 1) < 5 * sqrt(2 / n));
	assert_true(fabs(fourths / n - 3) < 5 * sqrt(96 / n));
	assert_true(fabs(products / BLOCKS) < 5 / sqrt(BLOCKS));
}

static void below_is_in_range_and_even(void **state)
{
	enum { BOUND = 10, DRAWS = 100000 };
	struct random_key key = random_key_make(4, RANDOM_SHUFFLE, 0);
	unsigned counts[BOUND] = {0};
	for (uint64_t i = 0; i < DRAWS; i++) {
		uint32_t draw = random_below(key, i, BOUND);
		assert_true(draw < BOUND);
		counts[draw]++;
	}
	double chi = 0;
	for (int i = 0; i < BOUND; i++)
		chi += pow((double)counts[i] - DRAWS / BOUND, 2) / (DRAWS / BOUND);
	assert_true(chi < 33.7); // chi-square, 9 degrees of freedom, one in 10,000
	assert_int_equal(random_below(key, 5, 1), 0);
	assert_true(random_below(key, 5, UINT32_MAX) < UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(block_known_answers_are_met),
		cmocka_unit_test(hash_name_known_answers_are_met),
		cmocka_unit_test(key_make_each_ingredient_changes_the_key),
		cmocka_unit_test(uniform_ends_are_0_and_below_1),
		cmocka_unit_test(normal_pair_ends_are_finite),
		cmocka_unit_test(normal_pair_moments_are_those_of_the_normal),
		cmocka_unit_test(below_is_in_range_and_even),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
