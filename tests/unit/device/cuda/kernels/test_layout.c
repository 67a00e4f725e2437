// Layouts, conversions of type, and padding.
#include "tests/unit/device/cuda/kernels/harness.h"

static void check_layout(uint32_t n, uint32_t channels, uint32_t positions, enum data_type from_type,
			 enum data_type to_type)
{
	uint64_t count = (uint64_t)n * channels * positions;
	float *values = filled("layout", 3.0f, count), *expected = host_new(count * sizeof(float));
	struct tensor first = typed(from_type, count, values);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t p = i % positions, c = i / positions % channels, image = i / positions / channels;
		expected[(image * positions + p) * channels + c] = values[i];
	}
	struct tensor last = typed(to_type, count, expected); // rounds what is expected
	check(cudaMemset(last.at, POISON, last.bytes));
	check(kernel_to_channels_last(NULL, n, channels, positions, from_type, first.at, to_type, last.at));
	float *got = typed_values(to_type, count, &last);
	assert_equal("to channels last", to_type, count, got, expected);
	free(got);
	check(cudaMemset(first.at, POISON, first.bytes));
	check(kernel_to_channels_first(NULL, n, channels, positions, to_type, last.at, from_type, first.at));
	got = typed_values(from_type, count, &first);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t c = i % channels, p = i / channels % positions, image = i / channels / positions;
		values[(image * channels + c) * positions + p] = expected[i];
	}
	struct tensor rounded = typed(from_type, count, values);
	assert_equal("to channels first", from_type, count, got, values);
	tensor_free(&rounded);
	tensor_free(&first);
	tensor_free(&last);
	free(got);
	free(values);
	free(expected);
}

static void layout_odd_shapes_transpose_exactly(void **state)
{
	static const uint32_t shapes[][3] = {{1, 1, 1}, {2, 3, 35}, {3, 64, 49}, {2, 33, 65}, {1, 100, 1}, {1, 1, 70}};
	for_each_type(from) for_each_type(to) for (size_t i = 0; i < LENGTH(shapes); i++)
		check_layout(shapes[i][0], shapes[i][1], shapes[i][2], from, to);
}

// More tiles than the grid has blocks.
static void layout_many_tiles_go_round(void **state)
{
	check_layout(16400, 2, 1, DATA_FLOAT32, DATA_FLOAT16); // more images than blocks
}

static void convert_any_pair_rounds_as_the_host(void **state)
{
	static const uint64_t counts[] = {0, 1, 3, 4, 7, 1027};
	for_each_type(from_type) for_each_type(to_type) for (size_t i = 0; i < LENGTH(counts);
							     i++) for (uint64_t askew = 0; askew < 2; askew++)
	{
		uint64_t count = counts[i];
		float *values = filled("convert", 70000.0f, count); // beyond float16's range
		if (count > 100)
			for (uint64_t e = 0; e < count / 2; e++)
				values[e] = ldexpf(values[e], -(int)(e % 60));
		struct tensor from = typed_askew(from_type, count, values, askew);
		struct tensor to = typed_askew(to_type, count, values, 1 - askew);
		check(cudaMemset(to.at, POISON, to.bytes));
		check(kernel_convert(NULL, count, from_type, from.at, to_type, to.at));
		float *got = typed_values(to_type, count, &to);
		assert_equal("convert", to_type, count, got, values);
		tensor_free(&from);
		tensor_free(&to);
		free(values);
		free(got);
	}
}

static const struct {
	uint32_t rows, row, padded;
} row_cases[] = {{1, 3, 8}, {5, 3, 8}, {7, 12, 16}, {130, 27, 32}, {9, 8, 8}, {3, 5, 5}, {70000, 3, 4}, {2, 700, 704}};

static void pad_rows_leaves_zeros_behind(void **state)
{
	for_each_type(type) for (size_t i = 0; i < LENGTH(row_cases); i++)
	{
		uint32_t rows = row_cases[i].rows, row = row_cases[i].row, padded = row_cases[i].padded;
		uint64_t count = (uint64_t)rows * row, padded_count = (uint64_t)rows * padded;
		float *values = filled("rows", 2.0f, count), *expected = host_new(padded_count * sizeof(float));
		struct tensor from = typed(DATA_FLOAT32, count, values), to;
		for (uint64_t e = 0; e < count; e++)
			expected[e / row * padded + e % row] = values[e];
		to = typed(type, padded_count, expected);
		check(cudaMemset(to.at, POISON, to.bytes));
		check(kernel_pad_rows(NULL, rows, row, padded, (float *)from.at, type, to.at));
		float *got = typed_values(type, padded_count, &to);
		assert_equal("pad_rows", type, padded_count, got, expected);
		tensor_free(&from);
		tensor_free(&to);
		free(values);
		free(expected);
		free(got);
	}
}

static void accumulate_sets_or_adds(void **state)
{
	for_each_type(type) for (size_t i = 0; i < LENGTH(row_cases); i++) for (int add = 0; add < 2; add++)
	{
		uint32_t rows = row_cases[i].rows, row = row_cases[i].row, padded = row_cases[i].padded;
		uint64_t count = (uint64_t)rows * row, padded_count = (uint64_t)rows * padded;
		float *values = filled("padded", 2.0f, padded_count), *sums = filled("sums", 1.0f, count);
		double *expected = doubles(count);
		struct tensor from = typed(type, padded_count, values);
		// A gradient lies anywhere among others.
		struct tensor to = typed_askew(DATA_FLOAT32, count, sums, i % 2);
		for (uint64_t e = 0; e < count; e++)
			expected[e] = (add ? sums[e] : 0.0) + (double)values[e / row * padded + e % row];
		if (!add)
			check(cudaMemset(to.at, POISON, to.bytes));
		check(kernel_accumulate(NULL, rows, row, padded, type, from.at, add, (float *)to.at));
		float *got = typed_values(DATA_FLOAT32, count, &to);
		assert_close("accumulate", DATA_FLOAT32, count, got, expected, 0.0);
		tensor_free(&from);
		tensor_free(&to);
		free(values);
		free(sums);
		free(expected);
		free(got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_odd_shapes_transpose_exactly),
		cmocka_unit_test(layout_many_tiles_go_round),
		cmocka_unit_test(convert_any_pair_rounds_as_the_host),
		cmocka_unit_test(pad_rows_leaves_zeros_behind),
		cmocka_unit_test(accumulate_sets_or_adds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
