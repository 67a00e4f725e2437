// The products of linear layers, whichever of them the tuning would choose, against sums in double; edges of tiles, blocks
// and panels included.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stage_server/device/cpu/matrix.h"

static float *filled(uint64_t count, uint32_t seed)
{
	float *values = malloc((count + 1) * sizeof(float));
	assert_non_null(values);
	for (uint64_t i = 0; i < count; i++)
		values[i] = (float)(int32_t)((seed = seed * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1.0f;
	return values;
}

static void assert_close(const float *values, const double *expected, uint64_t count, uint64_t terms)
{
	for (uint64_t i = 0; i < count; i++)
		if (!(fabs(values[i] - expected[i]) <= 4e-6 * sqrt((double)terms)))
			fail_msg("element %llu is %g, expected %g", (unsigned long long)i, values[i], expected[i]);
}

static void check(uint64_t n, uint64_t rows, uint64_t columns)
{
	float *w = filled(rows * columns, 1), *x = filled(n * columns, 2), *dy = filled(n * rows, 3);
	float *y = filled(n * rows, 4), *dx = filled(n * columns, 5); // to be overwritten
	float *y_threads = filled(n * rows, 6), *dx_threads = filled(n * columns, 7);
	double *expected_y = calloc(n * rows, sizeof(double)), *expected_dx = calloc(n * columns, sizeof(double));
	assert_true(expected_y != NULL && expected_dx != NULL);
	for (uint64_t i = 0; i < n; i++)
		for (uint64_t r = 0; r < rows; r++)
			for (uint64_t c = 0; c < columns; c++) {
				expected_y[i * rows + r] += (double)x[i * columns + c] * w[r * columns + c];
				expected_dx[i * columns + c] += (double)dy[i * rows + r] * w[r * columns + c];
			}
	matrix_forward(1, n, rows, columns, x, w, y);
	matrix_backward(1, n, rows, columns, dy, w, dx);
	assert_close(y, expected_y, n * rows, columns);
	assert_close(dx, expected_dx, n * columns, rows);
#ifndef __SANITIZE_THREAD__
	matrix_forward(2, n, rows, columns, x, w, y_threads);
	matrix_backward(2, n, rows, columns, dy, w, dx_threads);
	assert_memory_equal(y, y_threads, n * rows * sizeof(float));
	assert_memory_equal(dx, dx_threads, n * columns * sizeof(float));
#endif
	float *all[] = {w, x, dy, y, dx, y_threads, dx_threads};
	for (int i = 0; i < 7; i++)
		free(all[i]);
	free(expected_y);
	free(expected_dx);
}

static void products_any_shape_equal_sums_in_double(void **state)
{
	if (!matrix_is_supported())
		skip();
	const uint64_t counts[] = {1, 2, 3, 5, 6, 7, 12, 13, 16, 32};
	for (int i = 0; i < 10; i++)
		check(counts[i], 70, 130);
	const uint64_t sizes[] = {1, 3, 15, 16, 17, 63, 64, 65, 255, 256, 257};
	for (int i = 0; i < 11; i++) {
		check(7, sizes[i], 100);
		check(7, 100, sizes[i]);
	}
	check(3, 300, 1023);
	check(3, 300, 1024);
	check(9, 513, 2100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(products_any_shape_equal_sums_in_double)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
