// Bias, ReLU and sums of columns.
#include "tests/unit/device/cuda/kernels/harness.h"

static const struct {
	uint64_t rows;
	uint32_t columns;
} matrix_cases[] = {{1, 1}, {1, 7}, {3, 4}, {128, 1000}, {5, 301}, {70000, 3}, {2, 1028}, {17000, 130}};

static void bias_with_and_without_relu(void **state)
{
	for_each_type(type) for (size_t i = 0; i < LENGTH(matrix_cases); i++) for (int relu = 0; relu < 2; relu++)
	{
		uint64_t columns = matrix_cases[i].columns, count = matrix_cases[i].rows * columns;
		float *values = filled("values", 1.0f, count), *bias = filled("bias", 1.0f, columns);
		double *expected = doubles(count);
		struct tensor at = typed(type, count, values);
		struct tensor shift = typed_askew(DATA_FLOAT32, columns, bias, i % 2);
		for (uint64_t e = 0; e < count; e++) {
			expected[e] = (double)values[e] + bias[e % columns];
			expected[e] = relu && expected[e] < 0.0 ? 0.0 : expected[e];
		}
		check(kernel_bias(NULL, type, matrix_cases[i].rows, (uint32_t)columns, (float *)shift.at, relu, at.at));
		float *got = typed_values(type, count, &at);
		assert_close("bias", type, count, got, expected, 1e-7);
		tensor_free(&at);
		tensor_free(&shift);
		free(values);
		free(bias);
		free(expected);
		free(got);
	}
}

static void check_relu(enum data_type type, uint64_t count, uint64_t askew)
{
	float *values = filled("values", 1.0f, count), *gradients = filled("gradients", 1.0f, count);
	for (uint64_t i = 0; i < count; i += 5)
		values[i] = 0.0f;
	if (count > 3)
		values[3] = NAN;
	struct tensor output = typed_askew(type, count, values, askew);
	struct tensor gradient = typed_askew(type, count, gradients, askew);
	check(kernel_relu(NULL, type, count, output.at));
	check(kernel_relu_backward(NULL, type, count, output.at, gradient.at));
	float *got = typed_values(type, count, &output), *got_gradients = typed_values(type, count, &gradient);
	for (uint64_t i = 0; i < count; i++) {
		float positive = values[i] > 0.0f ? values[i] : 0.0f;
		if (isnan(values[i]) ? !isnan(got[i]) : got[i] != positive)
			fail_msg("relu of %g is %g", values[i], got[i]);
		if (got_gradients[i] != (values[i] <= 0.0f ? 0.0f : gradients[i]))
			fail_msg("relu's gradient at %g of %g is %g", values[i], gradients[i], got_gradients[i]);
	}
	tensor_free(&output);
	tensor_free(&gradient);
	free(values);
	free(gradients);
	free(got);
	free(got_gradients);
}

static void relu_any_count_keeps_what_is_above_zero(void **state)
{
	static const uint64_t counts[] = {0, 1, 3, 4, 1023, 4096};
	for_each_type(type) for (size_t i = 0; i < LENGTH(counts); i++) for (uint64_t askew = 0; askew < 2; askew++)
		check_relu(type, counts[i], askew);
}

// More packs than the grid has threads: threads go round.
static void relu_more_than_a_grid_goes_round(void **state)
{
	check_relu(DATA_FLOAT16, 16384ull * 256 + 5, 1);
}

static void column_sums_any_shape_in_one_order(void **state)
{
	static const struct {
		uint64_t rows;
		uint32_t columns;
	} cases[] = {{1, 1}, {1, 64}, {5, 3}, {1000, 64}, {128, 4096}, {40000, 7}, {3001, 12}, {300, 1001}, {70001, 1}};
	for_each_type(type) for (size_t i = 0; i < LENGTH(cases); i++) for (int add = 0; add < 2; add++)
	{
		uint64_t columns = cases[i].columns, rows = cases[i].rows, count = rows * columns;
		float *values = filled("values", 1.0f, count), *before = filled("sums", 1.0f, columns);
		double *expected = doubles(columns);
		struct tensor from = typed(type, count, values), scratch, to[2];
		for (uint64_t c = 0; c < columns; c++)
			expected[c] = add ? before[c] : 0.0;
		for (uint64_t e = 0; e < count; e++)
			expected[e % columns] += values[e];
		scratch = tensor_new(kernel_column_sums_scratch(rows, (uint32_t)columns), 0);
		float *got[2];
		for (int again = 0; again < 2; again++) {
			to[again] = typed_askew(DATA_FLOAT32, columns, before, again);
			if (!add)
				check(cudaMemset(to[again].at, POISON, to[again].bytes));
			check(kernel_column_sums(NULL, type, rows, (uint32_t)columns, from.at, add,
						 (float *)to[again].at, scratch.at));
			got[again] = typed_values(DATA_FLOAT32, columns, &to[again]);
			tensor_free(&to[again]);
		}
		assert_close("column sums", DATA_FLOAT32, columns, got[0], expected, 3e-6);
		assert_memory_equal(got[0], got[1], columns * sizeof(float));
		tensor_free(&from);
		tensor_free(&scratch);
		free(values);
		free(before);
		free(expected);
		free(got[0]);
		free(got[1]);
	}
}

// A cut between a layer and its ReLU parts the two, and must change no bit.
static void relu_backward_sums_are_the_two_passes_to_the_bit(void **state)
{
	for_each_type(type) for (size_t i = 0; i < LENGTH(matrix_cases); i++) for (int add = 0; add < 2; add++)
	{
		uint64_t columns = matrix_cases[i].columns, rows = matrix_cases[i].rows, count = rows * columns;
		float *outputs = filled("outputs", 1.0f, count), *gradients = filled("gradients", 1.0f, count);
		float *before = filled("sums", 1.0f, columns);
		for (uint64_t e = 0; e < count; e += 3)
			outputs[e] = e % 2 == 0 ? 0.0f : NAN;
		gradients[count / 2] = INFINITY;
		struct tensor output = typed(type, count, outputs), scratch;
		scratch = tensor_new(kernel_column_sums_scratch(rows, (uint32_t)columns), 0);
		struct tensor two = typed(type, count, gradients), one = typed(type, count, gradients);
		struct tensor sums_of_two = typed_askew(DATA_FLOAT32, columns, before, 1);
		struct tensor sums_of_one = typed_askew(DATA_FLOAT32, columns, before, 1);
		check(kernel_relu_backward(NULL, type, count, output.at, two.at));
		check(kernel_column_sums(NULL, type, rows, (uint32_t)columns, two.at, add, (float *)sums_of_two.at,
					 scratch.at));
		check(kernel_relu_backward_sums(NULL, type, rows, (uint32_t)columns, output.at, one.at, add,
						(float *)sums_of_one.at, scratch.at));
		void *expected = tensor_bytes(&two), *got = tensor_bytes(&one);
		void *expected_sums = tensor_bytes(&sums_of_two), *got_sums = tensor_bytes(&sums_of_one);
		assert_memory_equal(got, expected, one.bytes);
		assert_memory_equal(got_sums, expected_sums, sums_of_one.bytes);
		struct tensor *tensors[] = {&output, &scratch, &two, &one, &sums_of_two, &sums_of_one};
		for (size_t t = 0; t < LENGTH(tensors); t++)
			tensor_free(tensors[t]);
		free(outputs);
		free(gradients);
		free(before);
		free(expected);
		free(got);
		free(expected_sums);
		free(got_sums);
	}
}

static void column_sums_askew_are_refused(void **state)
{
	struct tensor from = tensor_new(64, 2), sums = tensor_new(32, 0), scratch = tensor_new(4096, 0);
	assert_int_equal(kernel_column_sums(NULL, DATA_FLOAT16, 4, 8, from.at, false, (float *)sums.at, scratch.at),
			 cudaErrorInvalidValue);
	assert_int_equal(kernel_relu_backward_sums(NULL, DATA_FLOAT16, 4, 8, from.at, scratch.at, false,
						   (float *)sums.at, scratch.at),
			 cudaErrorInvalidValue);
	tensor_free(&from);
	tensor_free(&sums);
	tensor_free(&scratch);
}

static void unknown_type_is_refused(void **state)
{
	struct tensor at = tensor_new(64, 0);
	assert_int_equal(kernel_relu(NULL, DATA_TYPE_COUNT, 4, at.at), cudaErrorInvalidValue);
	assert_int_equal(kernel_convert(NULL, 4, DATA_FLOAT32, at.at, DATA_TYPE_COUNT, at.at), cudaErrorInvalidValue);
	tensor_free(&at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bias_with_and_without_relu),
		cmocka_unit_test(relu_any_count_keeps_what_is_above_zero),
		cmocka_unit_test(relu_more_than_a_grid_goes_round),
		cmocka_unit_test(column_sums_any_shape_in_one_order),
		cmocka_unit_test(relu_backward_sums_are_the_two_passes_to_the_bit),
		cmocka_unit_test(column_sums_askew_are_refused),
		cmocka_unit_test(unknown_type_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
