// One bit anywhere in a training is seen, and named by its place.
#include "tests/unit/cmocka_all.h"

#include <float.h>
#include <math.h>

#include "coordinator/prove/compare.h"
#include "tests/unit/prove/trainings.h"

struct pair {
	struct capture *reference, *got;
};

static int setup(void **state)
{
	static struct pair pair;
	pair = (struct pair){training_create(), training_create()};
	*state = &pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;
	capture_destroy(pair->reference);
	capture_destroy(pair->got);
	return 0;
}

static void flip_bit(void *value, size_t size, unsigned bit)
{
	uint8_t *bytes = value;
	bytes[bit / 8 % size] ^= (uint8_t)(1u << bit % 8);
}

static struct comparison compare(const struct pair *pair)
{
	struct comparison comparison;
	compare_captures(pair->reference, pair->got, &comparison);
	return comparison;
}

static void of_equal_trainings_counts_everything(void **state)
{
	struct comparison c = compare(*state);
	assert_true(comparison_is_equal(&c));
	assert_int_equal(c.steps, TRAINING_STEPS);
	assert_int_equal(c.gradients, TRAINING_STEPS * 4);
	assert_int_equal(c.parameters, 4);
	assert_int_equal(c.elements, 2 * 3 * 3 * 3 + 2 + 320 + 10);
	assert_int_equal(
		c.losses_differ + c.norms_differ + c.gradients_differ + c.parameters_differ + c.elements_differ, 0);
	assert_false(c.diverged);
}

static void of_one_bit_of_a_loss_names_its_step(void **state)
{
	struct pair *pair = *state;
	for (unsigned bit = 0; bit < 64; bit++)
		for (uint64_t s = 0; s < TRAINING_STEPS; s++) {
			flip_bit(&pair->got->steps[s].loss, 8, bit);
			struct comparison c = compare(pair);
			assert_int_equal(c.first.kind, DIFFERENCE_LOSS);
			assert_int_equal(c.first.step, s);
			assert_true(c.first.reference_bits == (c.first.got_bits ^ UINT64_C(1) << bit));
			assert_int_equal(c.losses_differ, 1);
			assert_int_equal(c.first_value.kind, DIFFERENCE_NONE);
			flip_bit(&pair->got->steps[s].loss, 8, bit);
		}
}

static void of_one_bit_of_a_gradient_names_its_parameter(void **state)
{
	struct pair *pair = *state;
	for (unsigned bit = 0; bit < 64; bit++)
		for (uint32_t i = 0; i < 4; i++) {
			flip_bit(&pair->got->squares[4 + i], 8, bit);
			struct comparison c = compare(pair);
			assert_int_equal(c.first.kind, DIFFERENCE_GRADIENT);
			assert_int_equal(c.first.step, 1);
			assert_int_equal(c.first.parameter, i);
			assert_int_equal(c.gradients_differ, 1);
			flip_bit(&pair->got->squares[4 + i], 8, bit);
		}
}

static void of_one_bit_of_a_norm_a_count_or_a_skip_is_different(void **state)
{
	struct pair *pair = *state;
	flip_bit(&pair->got->steps[2].gradient_norm, 8, 0);
	struct comparison c = compare(pair);
	assert_int_equal(c.first.kind, DIFFERENCE_GRADIENT_NORM);
	assert_int_equal(c.first.step, 2);
	assert_int_equal(c.norms_differ, 1);
	pair->got->steps[1].skipped = true;
	c = compare(pair);
	assert_int_equal(c.first.kind, DIFFERENCE_SKIPPED);
	assert_int_equal(c.first.step, 1);
	pair->got->steps[0].correct++;
	c = compare(pair);
	assert_int_equal(c.first.kind, DIFFERENCE_CORRECT);
	assert_int_equal(c.first.step, 0);
}

static void of_one_bit_of_a_parameter_names_its_element(void **state)
{
	struct pair *pair = *state;
	for (unsigned bit = 0; bit < 32; bit++)
		for (uint32_t i = 0; i < 4; i++) {
			struct parameter parameter;
			model_parameter(&pair->got->model, i, &parameter);
			float *value = &pair->got->values[i][parameter.count - 1];
			flip_bit(value, 4, bit);
			struct comparison c = compare(pair);
			assert_int_equal(c.first.kind, DIFFERENCE_PARAMETER);
			assert_int_equal(c.first.parameter, i);
			assert_int_equal(c.first.element, parameter.count - 1);
			assert_true(c.first.reference_bits == (c.first.got_bits ^ UINT64_C(1) << bit));
			assert_memory_equal(&c.first_value, &c.first, sizeof(c.first));
			assert_int_equal(c.elements_differ, 1);
			assert_int_equal(c.parameters_differ, 1);
			flip_bit(value, 4, bit);
		}
}

// In time: a step before a later step and before the parameters; in a step the loss first, then gradients from the last layer back.
static void first_difference_is_the_earliest(void **state)
{
	struct pair *pair = *state;
	flip_bit(&pair->got->values[0][0], 4, 0);
	flip_bit(&pair->got->steps[2].loss, 8, 0);
	flip_bit(&pair->got->squares[4 + 0], 8, 0);
	flip_bit(&pair->got->squares[4 + 3], 8, 0);
	flip_bit(&pair->got->steps[1].gradient_norm, 8, 0);
	struct comparison c = compare(pair);
	assert_int_equal(c.first.kind, DIFFERENCE_GRADIENT);
	assert_int_equal(c.first.step, 1);
	assert_int_equal(c.first.parameter, 3);
	assert_int_equal(c.first_value.kind, DIFFERENCE_PARAMETER);
	flip_bit(&pair->got->steps[1].loss, 8, 0);
	c = compare(pair);
	assert_int_equal(c.first.kind, DIFFERENCE_LOSS);
	assert_int_equal(c.first.step, 1);
}

static void of_the_same_nan_is_equal_and_diverged(void **state)
{
	struct pair *pair = *state;
	pair->reference->steps[1].loss = pair->got->steps[1].loss = NAN;
	pair->reference->values[2][5] = pair->got->values[2][5] = NAN;
	struct comparison c = compare(pair);
	assert_true(comparison_is_equal(&c));
	assert_true(c.diverged);
	assert_int_equal(c.diverged_step, 1);
	pair->got->steps[1].loss = -NAN; // other bits
	c = compare(pair);
	assert_int_equal(c.first.kind, DIFFERENCE_LOSS);
	assert_true(c.first.ulp == UINT64_MAX);
}

static void of_nan_in_final_parameters_alone_is_diverged_at_the_end(void **state)
{
	struct pair *pair = *state;
	pair->reference->values[2][5] = pair->got->values[2][5] = INFINITY;
	struct comparison c = compare(pair);
	assert_true(comparison_is_equal(&c) && c.diverged);
	assert_int_equal(c.diverged_step, TRAINING_STEPS);
}

// With float16 an overflow is how the loss scale finds its size.
static void of_an_overflow_that_was_skipped_is_not_diverged(void **state)
{
	struct pair *pair = *state;
	pair->reference->steps[0].gradient_norm = pair->got->steps[0].gradient_norm = INFINITY;
	pair->reference->steps[0].skipped = pair->got->steps[0].skipped = true;
	assert_false(compare(pair).diverged);
	pair->got->steps[0].skipped = false;
	assert_true(compare(pair).diverged);
}

static void ulp_counts_the_numbers_between(void **state)
{
	assert_int_equal(compare_ulp_float(1.0f, 1.0f), 0);
	assert_int_equal(compare_ulp_float(0.0f, -0.0f), 0);
	assert_int_equal(compare_ulp_float(1.0f, nextafterf(1.0f, 2.0f)), 1);
	assert_int_equal(compare_ulp_float(nextafterf(0.0f, -1.0f), nextafterf(0.0f, 1.0f)), 2);
	assert_int_equal(compare_ulp_float(1.0f, 2.0f), 1 << 23);
	assert_int_equal(compare_ulp_float(-2.0f, -1.0f), 1 << 23);
	assert_int_equal(compare_ulp_float(FLT_MAX, INFINITY), 1);
	assert_true(compare_ulp_float(NAN, NAN) == UINT64_MAX);
	assert_int_equal(compare_ulp_double(1.0, nextafter(1.0, 0.0)), 1);
	assert_int_equal(compare_ulp_double(-1.0, nextafter(-1.0, 0.0)), 1);
	assert_true(compare_ulp_double(NAN, 1.0) == UINT64_MAX);
}

// ---- What a capture refuses

static void capture_refuses_what_has_no_place(void **state)
{
	struct capture *capture = ((struct pair *)*state)->got;
	struct error error;
	float values[4] = {0};
	assert_false(capture_put(capture, 4, 0, values, 4, &error));
	assert_false(capture_put(capture, 1, 4, values, 8, &error)); // a bias of two floats
	assert_false(capture_put(capture, 1, 12, values, 0, &error));
	assert_false(capture_add_step(capture, &(struct job_step){.step = 3}, &error)); // one too many
	capture->steps_done = 1;
	assert_false(capture_add_step(capture, &(struct job_step){.step = 2}, &error));
	assert_false(capture_add_step(capture, &(struct job_step){.step = 1}, &error)); // without norms
	assert_non_null(strstr(error.message, "no gradient norms"));
	capture->received_bytes[1] = 4;
	assert_false(capture_check_whole(capture, &error));
	assert_non_null(strstr(error.message, "features.0.bias"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_equal_trainings_counts_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(of_one_bit_of_a_loss_names_its_step, setup, teardown),
		cmocka_unit_test_setup_teardown(of_one_bit_of_a_gradient_names_its_parameter, setup, teardown),
		cmocka_unit_test_setup_teardown(of_one_bit_of_a_norm_a_count_or_a_skip_is_different, setup, teardown),
		cmocka_unit_test_setup_teardown(of_one_bit_of_a_parameter_names_its_element, setup, teardown),
		cmocka_unit_test_setup_teardown(first_difference_is_the_earliest, setup, teardown),
		cmocka_unit_test_setup_teardown(of_the_same_nan_is_equal_and_diverged, setup, teardown),
		cmocka_unit_test_setup_teardown(of_nan_in_final_parameters_alone_is_diverged_at_the_end, setup,
						teardown),
		cmocka_unit_test_setup_teardown(of_an_overflow_that_was_skipped_is_not_diverged, setup, teardown),
		cmocka_unit_test(ulp_counts_the_numbers_between),
		cmocka_unit_test_setup_teardown(capture_refuses_what_has_no_place, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
