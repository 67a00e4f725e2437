// Clipping and loss scale in one factor, and what counts as an overflow.
#include "tests/unit/cmocka_all.h"

#include <float.h>
#include <math.h>

#include "coordinator/run/gradient_scale.h"

static const double squares[] = {9.0, 0.0, 16.0}; // a norm of 5

static void of_large_norm_is_clipped(void **state)
{
	struct gradient_scale scale = gradient_scale_of(squares, 3, 1.0, 2.0);
	assert_false(scale.overflow);
	assert_true(scale.norm == 5.0);
	assert_true(fabs(scale.scale - 2.0 / (5.0 + 1e-6)) < 1e-15);
	assert_true(gradient_scale_of(squares, 3, 1.0, 6.0).scale == 1.0); // small enough
	assert_true(gradient_scale_of(squares, 3, 1.0, 0.0).scale == 1.0); // no clipping
	assert_true(gradient_scale_of(squares, 0, 1.0, 1.0).scale == 1.0 &&
		    gradient_scale_of(squares, 0, 1.0, 1.0).norm == 0);
}

static void of_scaled_gradients_is_of_the_unscaled_norm(void **state)
{
	double scaled[3];
	for (int i = 0; i < 3; i++)
		scaled[i] = squares[i] * 1024.0 * 1024.0;
	struct gradient_scale scale = gradient_scale_of(scaled, 3, 1024.0, 2.0);
	assert_true(scale.norm == 5.0);
	assert_true(fabs(scale.scale * 1024.0 - 2.0 / (5.0 + 1e-6)) < 1e-15);
	assert_true(gradient_scale_of(scaled, 3, 1024.0, 6.0).scale == 1.0 / 1024);
	assert_true(gradient_scale_of(scaled, 3, 1024.0, 0.0).scale == 1.0 / 1024);
}

static void of_what_is_no_finite_number_is_an_overflow(void **state)
{
	static const double bad[] = {INFINITY, NAN, -NAN};
	for (int place = 0; place < 3; place++)
		for (int i = 0; i < 3; i++) {
			double values[3] = {9.0, 0.0, 16.0};
			values[place] = bad[i];
			assert_true(gradient_scale_of(values, 3, 65536.0, 1.0).overflow);
		}
	double large[3] = {1e300, 1e300, 1e-300}; // large, and finite
	assert_false(gradient_scale_of(large, 3, 65536.0, 1.0).overflow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_large_norm_is_clipped),
		cmocka_unit_test(of_scaled_gradients_is_of_the_unscaled_norm),
		cmocka_unit_test(of_what_is_no_finite_number_is_an_overflow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
