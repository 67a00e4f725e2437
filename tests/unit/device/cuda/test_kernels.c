// The CUDA device's kernels against plain loops in double, for every element type: odd sizes, tensors that lie askew, more rows than a
// grid has blocks. Links with cudart on a GPU, or with tests/cuda_stand_in.
//
// What a kernel writes was filled with bytes that are not a number before, and the bytes behind must be untouched afterwards.
// Tolerances: an element may differ from what double says by the rounding of its type (2^-8 of itself in bfloat16, 2^-11 in float16,
// 2^-22 in float32, where several operations round), and by `floor` times the largest expected, where terms cancel.
#include "tests/unit/cmocka_all.h"

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cuda/kernels/kernels.h"
#include "tests/unit/device/reference.h"
#include "tests/unit/device/rule.h"

enum { GUARD_BYTES = 64, POISON = 0xFF };

#define check(call)   assert_int_equal((call), cudaSuccess)
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

// ---- memory

// A device's tensor of `bytes`, `offset` bytes behind what cudaMalloc gives.
struct tensor {
	char *base, *at;
	size_t offset, bytes;
};

static struct tensor tensor_new(size_t bytes, size_t offset)
{
	struct tensor tensor = {.offset = offset, .bytes = bytes};
	void *base;
	check(cudaMalloc(&base, offset + bytes + GUARD_BYTES));
	check(cudaMemset(base, POISON, offset + bytes + GUARD_BYTES));
	tensor.base = base;
	tensor.at = tensor.base + offset;
	return tensor;
}

static void *host_new(size_t bytes)
{
	void *memory = calloc(bytes + 1, 1);
	assert_non_null(memory);
	return memory;
}

// Fails when something was written before or behind it.
static void tensor_free(struct tensor *tensor)
{
	size_t bytes = tensor->offset + tensor->bytes + GUARD_BYTES;
	unsigned char *copy = host_new(bytes);
	check(cudaMemcpy(copy, tensor->base, bytes, cudaMemcpyDeviceToHost));
	for (size_t i = 0; i < bytes; i++)
		if ((i < tensor->offset || i >= tensor->offset + tensor->bytes) && copy[i] != POISON)
			fail_msg("byte %zu of %zu at %zu is overwritten", i, tensor->bytes, tensor->offset);
	free(copy);
	check(cudaFree(tensor->base));
}

static struct tensor tensor_of(const void *values, size_t bytes)
{
	struct tensor tensor = tensor_new(bytes, 0);
	check(cudaMemcpy(tensor.at, values, bytes, cudaMemcpyHostToDevice));
	return tensor;
}

static void *tensor_bytes(const struct tensor *tensor)
{
	void *copy = host_new(tensor->bytes);
	check(cudaMemcpy(copy, tensor->at, tensor->bytes, cudaMemcpyDeviceToHost));
	return copy;
}

// `values` rounded to the type, in the device's memory, `offset` elements askew; and as they were rounded in `values`.
static struct tensor typed_askew(enum data_type type, uint64_t count, float *values, uint64_t offset)
{
	size_t size = data_type_bytes(type);
	void *narrow = host_new(count * size);
	data_type_narrow(type, count, values, narrow);
	data_type_widen(type, count, narrow, values);
	struct tensor tensor = tensor_new(count * size, offset * size);
	check(cudaMemcpy(tensor.at, narrow, count * size, cudaMemcpyHostToDevice));
	free(narrow);
	return tensor;
}

static struct tensor typed(enum data_type type, uint64_t count, float *values)
{
	return typed_askew(type, count, values, 0);
}

static struct tensor typed_new(enum data_type type, uint64_t count)
{
	return tensor_new(count * data_type_bytes(type), 0);
}

static float *typed_values(enum data_type type, uint64_t count, const struct tensor *tensor)
{
	void *narrow = tensor_bytes(tensor);
	float *values = host_new(count * sizeof(float));
	data_type_widen(type, count, narrow, values);
	free(narrow);
	return values;
}

static float *filled(const char *name, float scale, uint64_t count)
{
	float *values = host_new(count * sizeof(float));
	rule_fill(name, scale, count, values);
	return values;
}

static double *doubles(uint64_t count)
{
	return host_new(count * sizeof(double));
}

static void assert_close(const char *what, enum data_type type, uint64_t count, const float *values,
			 const double *expected, double floor)
{
	static const double unit[] = {
		[DATA_FLOAT32] = 0x1p-22, [DATA_BFLOAT16] = 0x1.01p-8, [DATA_FLOAT16] = 0x1.01p-11};
	double tiny = type == DATA_FLOAT16 ? 0x1p-24 : 0x1p-130; // the smallest of the type
	double largest = 0.0;
	for (uint64_t i = 0; i < count; i++)
		largest = fabs(expected[i]) > largest ? fabs(expected[i]) : largest;
	for (uint64_t i = 0; i < count; i++)
		if (!(fabs(values[i] - expected[i]) <= unit[type] * fabs(expected[i]) + floor * largest + tiny))
			fail_msg("%s, %s: element %llu of %llu is %.9g, expected %.9g", what, data_type_name(type),
				 (unsigned long long)i, (unsigned long long)count, values[i], expected[i]);
}

// Copies of bits, or what has one right answer.
static void assert_equal(const char *what, enum data_type type, uint64_t count, const float *values,
			 const float *expected)
{
	for (uint64_t i = 0; i < count; i++)
		if (values[i] != expected[i])
			fail_msg("%s, %s: element %llu of %llu is %.9g, expected %.9g", what, data_type_name(type),
				 (unsigned long long)i, (unsigned long long)count, values[i], expected[i]);
}

#define for_each_type(type) for (enum data_type type = 0; type < DATA_TYPE_COUNT; type++)

// ---- images

static void images_any_size_match_interpolate(void **state)
{
	static const struct {
		uint32_t n, raw, size, channels;
	} cases[] = {{3, 32, 33, 3}, {2, 32, 32, 8}, {1, 32, 7, 4}, {2, 5, 65, 8}, {1, 1, 3, 5}, {2, 32, 300, 8}};
	const float mean[3] = {0.49f, 0.48f, 0.45f}, deviation[3] = {0.25f, 0.24f, 0.26f};
	for_each_type(type) for (size_t i = 0; i < LENGTH(cases); i++)
	{
		uint32_t n = cases[i].n, raw = cases[i].raw, size = cases[i].size, c = cases[i].channels;
		uint64_t pixels = (uint64_t)size * size, bytes = (uint64_t)n * 3 * raw * raw;
		uint8_t *images = host_new(bytes);
		rule_fill_bytes("images", bytes, images);
		double *planes = doubles(n * 3 * pixels), *expected = doubles(n * pixels * c);
		reference_images(images, n, raw, size, mean, deviation, planes);
		for (uint64_t p = 0; p < n * pixels; p++)
			for (uint32_t k = 0; k < 3; k++)
				expected[p * c + k] = planes[(p / pixels * 3 + k) * pixels + p % pixels];
		struct image_kernel spec = {.n = n, .raw_size = raw, .size = size, .channels = c};
		memcpy(spec.mean, mean, sizeof(mean));
		memcpy(spec.standard_deviation, deviation, sizeof(deviation));
		struct tensor from = tensor_of(images, bytes), to = typed_new(type, n * pixels * c);
		check(kernel_images(NULL, type, &spec, (uint8_t *)from.at, to.at));
		float *values = typed_values(type, n * pixels * c, &to);
		assert_close("images", type, n * pixels * c, values, expected, 1e-6);
		tensor_free(&from);
		tensor_free(&to);
		free(images);
		free(planes);
		free(expected);
		free(values);
	}
}

// ---- layout

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

// ---- elementwise

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
		if (got_gradients[i] != (values[i] > 0.0f ? gradients[i] : 0.0f))
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

static void column_sums_askew_are_refused(void **state)
{
	struct tensor from = tensor_new(64, 2), sums = tensor_new(32, 0), scratch = tensor_new(4096, 0);
	assert_int_equal(kernel_column_sums(NULL, DATA_FLOAT16, 4, 8, from.at, false, (float *)sums.at, scratch.at),
			 cudaErrorInvalidValue);
	tensor_free(&from);
	tensor_free(&sums);
	tensor_free(&scratch);
}

// ---- pools

static uint64_t at_nhwc(uint32_t n, uint32_t h, uint32_t w, uint32_t c, uint32_t height, uint32_t width,
			uint32_t channels)
{
	return (((uint64_t)n * height + h) * width + w) * channels + c;
}

struct pool_data {
	struct pool_kernel spec;
	uint64_t inputs, outputs;
	float *input, *gradient; // of the output
	double *output, *input_gradient;
	uint8_t *places;
};

static void pool_data_init(struct pool_data *d, const struct pool_kernel *spec)
{
	d->spec = *spec;
	d->inputs = (uint64_t)spec->n * spec->height * spec->width * spec->channels;
	d->outputs = (uint64_t)spec->n * spec->output_height * spec->output_width * spec->channels;
	d->input = filled("input", 1.0f, d->inputs);
	d->gradient = filled("gradient", 1.0f, d->outputs);
	d->output = doubles(d->outputs);
	d->input_gradient = doubles(d->inputs);
	d->places = host_new(d->outputs);
}

static void pool_data_fini(struct pool_data *d)
{
	free(d->input);
	free(d->gradient);
	free(d->output);
	free(d->input_gradient);
	free(d->places);
}

static void plain_max_pool(struct pool_data *d)
{
	const struct pool_kernel *s = &d->spec;
	uint64_t out = 0;
	for (uint32_t n = 0; n < s->n; n++)
		for (uint32_t oh = 0; oh < s->output_height; oh++)
			for (uint32_t ow = 0; ow < s->output_width; ow++)
				for (uint32_t c = 0; c < s->channels; c++, out++) {
					uint64_t largest = at_nhwc(n, oh * s->stride, ow * s->stride, c, s->height,
								   s->width, s->channels);
					for (uint32_t i = 0; i < s->window * s->window; i++) {
						uint64_t in = at_nhwc(n, oh * s->stride + i / s->window,
								      ow * s->stride + i % s->window, c, s->height,
								      s->width, s->channels);
						if (d->input[in] > d->input[largest]) {
							largest = in;
							d->places[out] = (uint8_t)i;
						}
					}
					d->output[out] = d->input[largest];
					d->input_gradient[largest] += d->gradient[out];
				}
}

static void max_pool_finds_the_first_of_the_largest(void **state)
{
	static const struct pool_kernel specs[] = {
		// n, channels, height, width, output_height, output_width, window, stride
		{2, 3, 7, 9, 3, 4, 3, 2},    {1, 8, 6, 6, 3, 3, 2, 2},   {3, 64, 13, 13, 6, 6, 3, 2},
		{1, 5, 15, 16, 1, 2, 15, 1}, {2, 4, 8, 8, 2, 2, 2, 3},   {1, 12, 5, 5, 4, 4, 2, 1},
		{1, 1, 1, 1, 1, 1, 1, 1},    {2, 7, 10, 10, 3, 3, 3, 3}, {17000, 1, 2, 2, 1, 1, 2, 2},
	};
	for_each_type(type) for (size_t i = 0; i < LENGTH(specs); i++)
	{
		struct pool_data d;
		pool_data_init(&d, &specs[i]);
		for (uint64_t e = 0; e < d.inputs; e++)
			d.input[e] = roundf(d.input[e] * 4.0f); // many equals
		struct tensor input = typed(type, d.inputs, d.input), output = typed_new(type, d.outputs);
		struct tensor gradient = typed(type, d.outputs, d.gradient), places = tensor_new(d.outputs, 0);
		struct tensor input_gradient = typed_new(type, d.inputs);
		plain_max_pool(&d);
		check(kernel_max_pool(NULL, type, &d.spec, input.at, output.at, (uint8_t *)places.at));
		check(kernel_max_pool_backward(NULL, type, &d.spec, gradient.at, (uint8_t *)places.at,
					       input_gradient.at));
		float *values = typed_values(type, d.outputs, &output);
		float *gradients = typed_values(type, d.inputs, &input_gradient);
		uint8_t *got_places = tensor_bytes(&places);
		assert_close("max pool", type, d.outputs, values, d.output, 0.0);
		assert_memory_equal(got_places, d.places, d.outputs);
		assert_close("max pool's gradient", type, d.inputs, gradients, d.input_gradient, 2e-7);
		tensor_free(&input);
		tensor_free(&output);
		tensor_free(&gradient);
		tensor_free(&places);
		tensor_free(&input_gradient);
		free(values);
		free(gradients);
		free(got_places);
		pool_data_fini(&d);
	}
}

static void max_pool_lets_nan_through(void **state)
{
	const float input[9] = {1, 2, 3, 4, NAN, 6, 7, 8, 9};
	struct pool_kernel spec = {1, 1, 3, 3, 1, 1, 3, 1};
	struct tensor from = tensor_of(input, sizeof(input)), to = typed_new(DATA_FLOAT32, 1), place = tensor_new(1, 0);
	check(kernel_max_pool(NULL, DATA_FLOAT32, &spec, from.at, to.at, (uint8_t *)place.at));
	float *value = tensor_bytes(&to);
	uint8_t *where = tensor_bytes(&place);
	assert_true(isnan(value[0]) && where[0] == 4);
	tensor_free(&from);
	tensor_free(&to);
	tensor_free(&place);
	free(value);
	free(where);
}

static void plain_average_pool(struct pool_data *d)
{
	const struct pool_kernel *s = &d->spec;
	uint64_t out = 0;
	for (uint32_t n = 0; n < s->n; n++)
		for (uint32_t oh = 0; oh < s->output_height; oh++)
			for (uint32_t ow = 0; ow < s->output_width; ow++)
				for (uint32_t c = 0; c < s->channels; c++, out++) {
					uint32_t top = (uint32_t)floor((double)oh * s->height / s->output_height);
					uint32_t bottom = (uint32_t)ceil((oh + 1.0) * s->height / s->output_height);
					uint32_t left = (uint32_t)floor((double)ow * s->width / s->output_width);
					uint32_t right = (uint32_t)ceil((ow + 1.0) * s->width / s->output_width);
					double area = (double)(bottom - top) * (right - left);
					for (uint32_t h = top; h < bottom; h++)
						for (uint32_t w = left; w < right; w++) {
							uint64_t in =
								at_nhwc(n, h, w, c, s->height, s->width, s->channels);
							d->output[out] += d->input[in] / area;
							d->input_gradient[in] += d->gradient[out] / area;
						}
				}
}

static void average_pool_windows_match_pytorch(void **state)
{
	static const struct pool_kernel specs[] = {
		// n, channels, height, width, output_height, output_width
		{2, 3, 13, 13, 6, 6, 0, 0}, {1, 8, 7, 7, 7, 7, 0, 0},     {3, 5, 5, 4, 8, 7, 0, 0},
		{2, 4, 1, 1, 6, 6, 0, 0},   {1, 64, 9, 11, 5, 4, 0, 0},   {1, 1, 8, 8, 1, 1, 0, 0},
		{2, 12, 7, 3, 2, 5, 0, 0},  {17000, 1, 2, 2, 1, 1, 0, 0},
	};
	for_each_type(type) for (size_t i = 0; i < LENGTH(specs); i++)
	{
		struct pool_data d;
		pool_data_init(&d, &specs[i]);
		struct tensor input = typed(type, d.inputs, d.input), output = typed_new(type, d.outputs);
		struct tensor gradient = typed(type, d.outputs, d.gradient);
		struct tensor input_gradient = typed_new(type, d.inputs);
		plain_average_pool(&d);
		check(kernel_average_pool(NULL, type, &d.spec, input.at, output.at));
		check(kernel_average_pool_backward(NULL, type, &d.spec, gradient.at, input_gradient.at));
		float *values = typed_values(type, d.outputs, &output);
		float *gradients = typed_values(type, d.inputs, &input_gradient);
		assert_close("average pool", type, d.outputs, values, d.output, 1e-6);
		assert_close("average pool's gradient", type, d.inputs, gradients, d.input_gradient, 1e-6);
		tensor_free(&input);
		tensor_free(&output);
		tensor_free(&gradient);
		tensor_free(&input_gradient);
		free(values);
		free(gradients);
		pool_data_fini(&d);
	}
}

// ---- dropout

static void check_dropout(enum data_type type, struct dropout_kernel spec, uint64_t askew)
{
	uint64_t elements = (uint64_t)spec.positions * spec.channels, count = spec.n * elements;
	float *values = filled("values", 1.0f, count), *gradients = filled("gradients", 1.0f, count);
	double *expected = doubles(count), *expected_gradients = doubles(count);
	uint8_t *expected_mask = host_new(count);
	struct tensor at = typed_askew(type, count, values, askew);
	struct tensor gradient = typed_askew(type, count, gradients, askew);
	struct tensor mask = tensor_new(count, askew);
	float scale = spec.probability < 1.0f ? 1.0f / (1.0f - spec.probability) : 0.0f;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t p = i / spec.channels % spec.positions, c = i % spec.channels;
		uint64_t draw = c * spec.positions + p; // its place in NCHW
		uint32_t words[4];
		random_block(spec.key, spec.first_sample + i / elements, draw / 4, words);
		expected_mask[i] = random_uniform(words[draw % 4]) >= spec.probability;
		expected[i] = expected_mask[i] ? (double)values[i] * scale : 0.0;
		expected_gradients[i] = expected_mask[i] ? (double)gradients[i] * scale : 0.0;
	}
	check(kernel_dropout(NULL, type, &spec, at.at, (uint8_t *)mask.at));
	check(kernel_dropout_backward(NULL, type, &spec, (uint8_t *)mask.at, gradient.at));
	float *got = typed_values(type, count, &at), *got_gradients = typed_values(type, count, &gradient);
	uint8_t *got_mask = tensor_bytes(&mask);
	assert_memory_equal(got_mask, expected_mask, count);
	assert_close("dropout", type, count, got, expected, 0.0);
	assert_close("dropout's gradient", type, count, got_gradients, expected_gradients, 0.0);
	tensor_free(&at);
	tensor_free(&gradient);
	tensor_free(&mask);
	free(values);
	free(gradients);
	free(expected);
	free(expected_gradients);
	free(expected_mask);
	free(got);
	free(got_gradients);
	free(got_mask);
}

static void dropout_draws_are_those_of_the_generator(void **state)
{
	static const struct {
		uint32_t n, positions, channels;
		float probability;
	} cases[] = {{3, 1, 37, 0.5f}, {2, 1, 1024, 0.5f}, {2, 36, 8, 0.3f}, {3, 35, 5, 0.7f},
		     {1, 1, 64, 0.0f}, {1, 4, 16, 1.0f},   {1, 1, 1, 0.5f},  {17000, 1, 4, 0.5f}};
	static const uint64_t first_samples[] = {0, 5000000000ull};
	struct random_key key = random_key_make(7, RANDOM_DROPOUT, random_hash_name("classifier.0"));
	for_each_type(type) for (size_t i = 0; i < LENGTH(cases); i++) for (uint64_t askew = 0; askew < 2; askew++)
		check_dropout(type,
			      (struct dropout_kernel){.key = key,
						      .first_sample = first_samples[i % 2],
						      .n = cases[i].n,
						      .positions = cases[i].positions,
						      .channels = cases[i].channels,
						      .probability = cases[i].probability},
			      askew);
}

// ---- loss

static void check_loss(enum data_type type, uint32_t n, uint32_t classes, float scale)
{
	uint64_t count = (uint64_t)n * classes;
	float *logits = filled("logits", scale, count);
	uint8_t *labels = host_new(n);
	rule_fill_labels("labels", n, classes < 256 ? classes : 256, labels);
	for (uint64_t e = 0; e < count; e += 3)
		logits[e] = roundf(logits[e]); // equals among the largest, some rows
	struct tensor from = typed(type, count, logits), label = tensor_of(labels, n);
	struct tensor loss = tensor_new(sizeof(float), 0), correct = tensor_new(sizeof(uint32_t), 0);
	struct tensor gradient = typed_new(type, count);
	double expected = 0.0, *expected_gradient = doubles(count);
	uint32_t expected_correct = 0;
	for (uint32_t i = 0; i < n; i++) {
		const float *x = logits + (uint64_t)i * classes;
		uint32_t largest = 0;
		double sum = 0.0;
		for (uint32_t c = 1; c < classes; c++)
			largest = x[c] > x[largest] ? c : largest;
		for (uint32_t c = 0; c < classes; c++)
			sum += exp((double)x[c] - x[largest]);
		for (uint32_t c = 0; c < classes; c++)
			expected_gradient[(uint64_t)i * classes + c] =
				(exp((double)x[c] - x[largest]) / sum - (c == labels[i])) * 0.125;
		expected += (log(sum) + x[largest] - x[labels[i]]) / n;
		expected_correct += largest == labels[i];
	}
	check(kernel_loss(NULL, type, n, classes, from.at, (uint8_t *)label.at, (float *)loss.at,
			  (uint32_t *)correct.at));
	check(kernel_loss_backward(NULL, type, n, classes, from.at, (uint8_t *)label.at, 0.125f, gradient.at));
	float *got = tensor_bytes(&loss), *got_gradient = typed_values(type, count, &gradient);
	uint32_t *got_correct = tensor_bytes(&correct);
	assert_close("loss", DATA_FLOAT32, 1, got, &expected, 3e-6);
	assert_int_equal(*got_correct, expected_correct);
	assert_close("loss's gradient", type, count, got_gradient, expected_gradient, 2e-6);
	tensor_free(&from);
	tensor_free(&label);
	tensor_free(&loss);
	tensor_free(&correct);
	tensor_free(&gradient);
	free(logits);
	free(labels);
	free(expected_gradient);
	free(got);
	free(got_gradient);
	free(got_correct);
}

static void loss_any_shape_is_softmax_cross_entropy(void **state)
{
	static const uint32_t shapes[][2] = {{1, 1}, {1, 10}, {5, 2}, {16, 33}, {37, 10}, {130, 256}, {3, 1000}};
	for_each_type(type) for (size_t i = 0; i < LENGTH(shapes); i++)
	{
		check_loss(type, shapes[i][0], shapes[i][1], 1.0f);
		check_loss(type, shapes[i][0], shapes[i][1], 40.0f);
	}
}

static void loss_of_nan_is_nan(void **state)
{
	const float logits[3] = {1.0f, NAN, 2.0f};
	const uint8_t labels[1] = {0};
	struct tensor from = tensor_of(logits, sizeof(logits)), label = tensor_of(labels, 1);
	struct tensor loss = tensor_new(sizeof(float), 0), correct = tensor_new(sizeof(uint32_t), 0);
	check(kernel_loss(NULL, DATA_FLOAT32, 1, 3, from.at, (uint8_t *)label.at, (float *)loss.at,
			  (uint32_t *)correct.at));
	float *got = tensor_bytes(&loss);
	assert_true(isnan(*got));
	tensor_free(&from);
	tensor_free(&label);
	tensor_free(&loss);
	tensor_free(&correct);
	free(got);
}

// ---- optimizers

struct rule_case {
	const char *name;
	struct optimizer optimizer;
	struct optimizer_step step;
};

static const struct rule_case rule_cases[] = {
	{"SGD", {.kind = OPTIMIZER_SGD, .weight_decay = 0.01f}, {.learning_rate = 0.1f, .gradient_scale = 0.5f}},
	{"SGD with momentum",
	 {.kind = OPTIMIZER_SGD, .weight_decay = 0.01f, .dampening = 0.1f},
	 {.learning_rate = 0.1f, .beta1 = 0.9f, .gradient_scale = 1.0f}},
	{"SGD, Nesterov",
	 {.kind = OPTIMIZER_SGD, .nesterov = true},
	 {.learning_rate = 0.1f, .beta1 = 0.9f, .gradient_scale = 0.3f}},
	{"Adam",
	 {.kind = OPTIMIZER_ADAM, .weight_decay = 0.01f, .epsilon = 1e-8f},
	 {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .gradient_scale = 1.0f}},
	{"AdamW",
	 {.kind = OPTIMIZER_ADAMW, .weight_decay = 0.1f, .epsilon = 1e-8f},
	 {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .gradient_scale = 0.7f}},
};

// stage_server/device/cpu/optimizer.c for one value, each operation rounded: a GPU's answer has the same bits, or it was built with
// multiply-adds.
static void step_in_float(const struct optimizer *o, const struct optimizer_step *s, float gradient, float *value,
			  float state[2])
{
	bool adamw = o->kind == OPTIMIZER_ADAMW;
	float g = gradient * s->gradient_scale + (adamw ? 0.0f : o->weight_decay) * *value;
	if (o->kind == OPTIMIZER_SGD) {
		if (s->beta1 != 0.0f) {
			state[0] = s->step == 0 ? g : s->beta1 * state[0] + (1.0f - o->dampening) * g;
			g = o->nesterov ? g + s->beta1 * state[0] : state[0];
		}
		*value -= s->learning_rate * g;
		return;
	}
	float step_size = (float)(s->learning_rate / (1.0 - pow(s->beta1, (double)s->step + 1.0)));
	float root_correction2 = (float)sqrt(1.0 - pow(s->beta2, (double)s->step + 1.0));
	float keep = adamw ? 1.0f - s->learning_rate * o->weight_decay : 1.0f;
	state[0] = state[0] + (float)(1.0 - (double)s->beta1) * (g - state[0]);
	state[1] = s->beta2 * state[1] + (float)(1.0 - (double)s->beta2) * g * g;
	*value = keep * *value - step_size * state[0] / (sqrtf(state[1]) / root_correction2 + o->epsilon);
}

// Three steps; `askew` elements off where packs may lie; the copy in `copy_type`, or none.
static void check_optimizer(const struct rule_case *rule, uint64_t count, uint64_t askew, bool copies,
			    enum data_type copy_type)
{
	float *values = filled("values", 1.0f, count), *gradients = host_new(count * sizeof(float));
	float *state = host_new(2 * count * sizeof(float)), *zeros = host_new(count * sizeof(float));
	double *expected = doubles(count), *expected_state = doubles(2 * count), *wide = doubles(count);
	struct tensor at = typed_askew(DATA_FLOAT32, count, values, askew);
	bool has_first = rule->optimizer.kind != OPTIMIZER_SGD || rule->step.beta1 != 0.0f;
	bool has_second = rule->optimizer.kind != OPTIMIZER_SGD;
	struct tensor states[2] = {typed_askew(DATA_FLOAT32, count, zeros, askew),
				   typed_askew(DATA_FLOAT32, count, zeros, askew)};
	// SGD's first step must not read its buffer.
	if (has_first && !has_second)
		check(cudaMemset(states[0].at, POISON, states[0].bytes));
	struct tensor copy = tensor_new(count * data_type_bytes(copy_type), askew * data_type_bytes(copy_type));
	for (uint64_t i = 0; i < count; i++)
		expected[i] = values[i];
	for (uint64_t step = 0; step < 3; step++) {
		char name[32];
		snprintf(name, sizeof(name), "gradients.%d", (int)step);
		rule_fill(name, 1.0f, count, gradients);
		struct tensor gradient = typed_askew(DATA_FLOAT32, count, gradients, askew);
		struct optimizer_step now = rule->step;
		now.step = step;
		check(kernel_optimizer_step(NULL, &rule->optimizer, &now, step == 0, count, (float *)at.at,
					    (float *)gradient.at, has_first ? (float *)states[0].at : NULL,
					    has_second ? (float *)states[1].at : NULL, copy_type,
					    copies ? copy.at : NULL));
		for (uint64_t i = 0; i < count; i++) {
			wide[i] = gradients[i];
			step_in_float(&rule->optimizer, &now, gradients[i], &values[i], &state[2 * i]);
		}
		reference_optimizer(&rule->optimizer, &now, count, wide, expected, expected_state);
		tensor_free(&gradient);
	}
	float *got = tensor_bytes(&at), *got_copy = typed_values(copy_type, count, &copy);
	assert_close(rule->name, DATA_FLOAT32, count, got, expected, 2e-6);
	assert_equal(rule->name, DATA_FLOAT32, count, got, values);
	struct tensor rounded = typed(copy_type, count, values);
	if (copies)
		assert_equal(rule->name, copy_type, count, got_copy, values);
	tensor_free(&rounded);
	tensor_free(&at);
	tensor_free(&states[0]);
	tensor_free(&states[1]);
	tensor_free(&copy);
	free(values);
	free(gradients);
	free(state);
	free(zeros);
	free(expected);
	free(expected_state);
	free(wide);
	free(got);
	free(got_copy);
}

static void optimizer_steps_match_the_cpu_to_the_bit(void **state)
{
	static const uint64_t counts[] = {1, 3, 4, 1027};
	for (size_t rule = 0; rule < LENGTH(rule_cases); rule++)
		for (size_t i = 0; i < LENGTH(counts); i++)
			for (uint64_t askew = 0; askew < 2; askew++) {
				check_optimizer(&rule_cases[rule], counts[i], askew, false, DATA_FLOAT32);
				for_each_type(copy) check_optimizer(&rule_cases[rule], counts[i], askew, true, copy);
			}
}

// Padding: value, gradient and state are zero, and stay so even without epsilon.
static void optimizer_zeros_stay_zero(void **state)
{
	struct rule_case rule = rule_cases[3];
	rule.optimizer.epsilon = 0.0f;
	float zeros[5] = {0};
	struct tensor values = tensor_of(zeros, sizeof(zeros)), gradients = tensor_of(zeros, sizeof(zeros));
	struct tensor first = tensor_of(zeros, sizeof(zeros)), second = tensor_of(zeros, sizeof(zeros));
	check(kernel_optimizer_step(NULL, &rule.optimizer, &rule.step, true, 5, (float *)values.at,
				    (float *)gradients.at, (float *)first.at, (float *)second.at, DATA_FLOAT32, NULL));
	float *got = tensor_bytes(&values);
	assert_equal("zeros", DATA_FLOAT32, 5, got, zeros);
	tensor_free(&values);
	tensor_free(&gradients);
	tensor_free(&first);
	tensor_free(&second);
	free(got);
}

static double squares_of(const float *values, uint64_t count, uint64_t askew)
{
	float *copy = host_new(count * sizeof(float));
	memcpy(copy, values, count * sizeof(float));
	struct tensor at = typed_askew(DATA_FLOAT32, count, copy, askew), sum = tensor_new(sizeof(double), 0);
	struct tensor scratch = tensor_new(kernel_squares_scratch(count), 0);
	check(kernel_squares(NULL, count, (float *)at.at, (double *)sum.at, scratch.at));
	double *got = tensor_bytes(&sum), value = *got;
	tensor_free(&at);
	tensor_free(&sum);
	tensor_free(&scratch);
	free(got);
	free(copy);
	return value;
}

static void squares_are_the_same_wherever_they_lie(void **state)
{
	static const uint64_t counts[] = {1, 7, 255, 1000, 300001, 2200000};
	for (size_t i = 0; i < LENGTH(counts); i++) {
		float *values = filled("squares", 3.0f, counts[i]);
		double expected = 0.0, got = squares_of(values, counts[i], 0);
		for (uint64_t e = 0; e < counts[i]; e++)
			expected += (double)values[e] * values[e];
		assert_true(fabs(got - expected) <= 1e-12 * expected);
		for (uint64_t askew = 1; askew < 4; askew++)
			assert_true(squares_of(values, counts[i], askew) == got);
		free(values);
	}
}

static void squares_overflow_shows(void **state)
{
	float values[300] = {0};
	values[299] = INFINITY;
	assert_true(isinf(squares_of(values, 300, 0)));
	values[17] = NAN;
	assert_true(isnan(squares_of(values, 300, 0)));
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
		cmocka_unit_test(images_any_size_match_interpolate),
		cmocka_unit_test(layout_odd_shapes_transpose_exactly),
		cmocka_unit_test(layout_many_tiles_go_round),
		cmocka_unit_test(convert_any_pair_rounds_as_the_host),
		cmocka_unit_test(pad_rows_leaves_zeros_behind),
		cmocka_unit_test(accumulate_sets_or_adds),
		cmocka_unit_test(bias_with_and_without_relu),
		cmocka_unit_test(relu_any_count_keeps_what_is_above_zero),
		cmocka_unit_test(relu_more_than_a_grid_goes_round),
		cmocka_unit_test(column_sums_any_shape_in_one_order),
		cmocka_unit_test(column_sums_askew_are_refused),
		cmocka_unit_test(max_pool_finds_the_first_of_the_largest),
		cmocka_unit_test(max_pool_lets_nan_through),
		cmocka_unit_test(average_pool_windows_match_pytorch),
		cmocka_unit_test(dropout_draws_are_those_of_the_generator),
		cmocka_unit_test(loss_any_shape_is_softmax_cross_entropy),
		cmocka_unit_test(loss_of_nan_is_nan),
		cmocka_unit_test(optimizer_steps_match_the_cpu_to_the_bit),
		cmocka_unit_test(optimizer_zeros_stay_zero),
		cmocka_unit_test(squares_are_the_same_wherever_they_lie),
		cmocka_unit_test(squares_overflow_shows),
		cmocka_unit_test(unknown_type_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
