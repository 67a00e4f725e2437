// Initial values: the distributions of torch.nn.init, and that a draw depends on seed, name and index alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/graph/tensor.h"

enum { COUNT = 40000 };

static void draw(const char *name, uint32_t count, struct initializer initializer, uint64_t seed, float *ret_values)
{
	struct tensor tensor = {.rank = 1, .dims = {count}, .initializer = initializer};
	strcpy(tensor.name, name);
	tensor_draw(&tensor, seed, ret_values);
}

static void expect_moments(const float *values, double variance, double kurtosis)
{
	double sum = 0, squares = 0, fourths = 0, n = COUNT;
	for (uint32_t i = 0; i < COUNT; i++) {
		double x = (double)values[i] / sqrt(variance);
		sum += x;
		squares += x * x;
		fourths += x * x * x * x;
	}
	assert_true(fabs(sum / n) < 5 / sqrt(n));
	assert_true(fabs(squares / n - 1) < 5 * sqrt((kurtosis - 1) / n));
	assert_true(fabs(fourths / n - kurtosis) < 0.15);
}

static float values[COUNT], others[COUNT];

static void draw_default_is_uniform_within_the_inverse_root_of_fan_in(void **state)
{
	draw("conv.weight", COUNT, initializer_default(363), 1, values);
	for (uint32_t i = 0; i < COUNT; i++)
		assert_true(fabs((double)values[i]) <= 1 / sqrt(363) * (1 + 1e-6));
	expect_moments(values, 1.0 / 363 / 3, 9.0 / 5);
}

static void draw_kaiming_is_normal_by_fan_out(void **state)
{
	draw("conv.weight", COUNT, initializer_kaiming_normal(576), 1, values);
	expect_moments(values, 2.0 / 576, 3);
}

static void draw_constant_is_constant(void **state)
{
	draw("bn.weight", 100, initializer_constant(1), 1, values);
	for (uint32_t i = 0; i < 100; i++)
		assert_true(values[i] == 1);
}

static void draw_depends_on_seed_and_name(void **state)
{
	draw("a", 256, initializer_normal(1), 1, values);
	draw("a", 256, initializer_normal(1), 1, others);
	assert_memory_equal(values, others, 256 * sizeof(float));
	draw("a", 256, initializer_normal(1), 2, others);
	assert_memory_not_equal(values, others, 256 * sizeof(float));
	draw("a", 256, initializer_normal(1), UINT64_C(1) << 32 | 1, others);
	assert_memory_not_equal(values, others, 256 * sizeof(float));
	draw("b", 256, initializer_normal(1), 1, others);
	assert_memory_not_equal(values, others, 256 * sizeof(float));
}

static void draw_element_depends_on_its_index_alone(void **state)
{
	draw("a", 256, initializer_default(9), 1, values);
	draw("a", 7, initializer_default(9), 1, others);
	assert_memory_equal(values, others, 7 * sizeof(float));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(draw_default_is_uniform_within_the_inverse_root_of_fan_in),
		cmocka_unit_test(draw_kaiming_is_normal_by_fan_out),
		cmocka_unit_test(draw_constant_is_constant),
		cmocka_unit_test(draw_depends_on_seed_and_name),
		cmocka_unit_test(draw_element_depends_on_its_index_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
