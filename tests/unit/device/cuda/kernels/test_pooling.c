// Max and average pools.
#include "tests/unit/device/cuda/kernels/harness.h"

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

static const struct pool_kernel max_pools[] = {
	// n, channels, height, width, output_height, output_width, window, stride
	{2, 3, 7, 9, 3, 4, 3, 2},    {1, 8, 6, 6, 3, 3, 2, 2},   {3, 64, 13, 13, 6, 6, 3, 2},
	{1, 5, 15, 16, 1, 2, 15, 1}, {2, 4, 8, 8, 2, 2, 2, 3},   {1, 12, 5, 5, 4, 4, 2, 1},
	{1, 1, 1, 1, 1, 1, 1, 1},    {2, 7, 10, 10, 3, 3, 3, 3}, {17000, 1, 2, 2, 1, 1, 2, 2},
	{1, 4, 14, 11, 2, 2, 5, 6},  {2, 4, 9, 8, 3, 2, 4, 2},
};

static void max_pool_finds_the_first_of_the_largest(void **state)
{
	for_each_type(type) for (size_t i = 0; i < LENGTH(max_pools); i++)
	{
		struct pool_data d;
		pool_data_init(&d, &max_pools[i]);
		for (uint64_t e = 0; e < d.inputs; e++)
			d.input[e] = roundf(d.input[e] * 4.0f); // many equals
		struct tensor input = typed(type, d.inputs, d.input), output = typed_new(type, d.outputs);
		struct tensor gradient = typed(type, d.outputs, d.gradient), places = tensor_new(d.outputs, 0);
		struct tensor input_gradient = typed_new(type, d.inputs);
		plain_max_pool(&d);
		check(kernel_max_pool(NULL, type, &d.spec, false, input.at, output.at, (uint8_t *)places.at));
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

// The outputs and the input's gradient of a max pool over `input`, owned, as bytes; with ReLU's backward pass in it or behind it.
static void pool_relu(enum data_type type, const struct pool_data *d, bool together, const struct tensor *input,
		      const struct tensor *gradient, void **ret_output, void **ret_input_gradient)
{
	struct tensor output = typed_new(type, d->outputs), places = tensor_new(d->outputs, 0);
	struct tensor input_gradient = typed_new(type, d->inputs);
	check(kernel_max_pool(NULL, type, &d->spec, together, input->at, output.at, (uint8_t *)places.at));
	check(kernel_max_pool_backward(NULL, type, &d->spec, gradient->at, (uint8_t *)places.at, input_gradient.at));
	if (!together)
		check(kernel_relu_backward(NULL, type, d->inputs, input->at, input_gradient.at));
	*ret_output = tensor_bytes(&output);
	*ret_input_gradient = tensor_bytes(&input_gradient);
	tensor_free(&output);
	tensor_free(&places);
	tensor_free(&input_gradient);
}

static void max_pool_behind_relu_has_its_backward_pass_to_the_bit(void **state)
{
	for_each_type(type) for (size_t i = 0; i < LENGTH(max_pools); i++)
	{
		struct pool_data d;
		pool_data_init(&d, &max_pools[i]);
		for (uint64_t e = 0; e < d.inputs;
		     e++) { // many zeros, windows of nothing else, some that are no numbers
			d.input[e] = d.input[e] > 0.5f ? roundf(d.input[e] * 4.0f) : 0.0f;
			d.input[e] = e % 31 == 7 ? NAN : d.input[e];
		}
		d.gradient[0] = NAN;
		struct tensor input = typed(type, d.inputs, d.input), gradient = typed(type, d.outputs, d.gradient);
		void *output[2], *input_gradient[2];
		for (int together = 0; together < 2; together++)
			pool_relu(type, &d, together, &input, &gradient, &output[together], &input_gradient[together]);
		assert_memory_equal(output[1], output[0], d.outputs * data_type_bytes(type));
		assert_memory_equal(input_gradient[1], input_gradient[0], d.inputs * data_type_bytes(type));
		for (int together = 0; together < 2; together++) {
			free(output[together]);
			free(input_gradient[together]);
		}
		tensor_free(&input);
		tensor_free(&gradient);
		pool_data_fini(&d);
	}
}

static void max_pool_lets_nan_through(void **state)
{
	const float input[9] = {1, 2, 3, 4, NAN, 6, 7, 8, 9};
	struct pool_kernel spec = {1, 1, 3, 3, 1, 1, 3, 1};
	struct tensor from = tensor_of(input, sizeof(input)), to = typed_new(DATA_FLOAT32, 1), place = tensor_new(1, 0);
	check(kernel_max_pool(NULL, DATA_FLOAT32, &spec, false, from.at, to.at, (uint8_t *)place.at));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(max_pool_finds_the_first_of_the_largest),
		cmocka_unit_test(max_pool_behind_relu_has_its_backward_pass_to_the_bit),
		cmocka_unit_test(max_pool_lets_nan_through),
		cmocka_unit_test(average_pool_windows_match_pytorch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
