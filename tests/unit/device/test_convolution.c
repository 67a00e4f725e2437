// Every method of every pass of a convolution against the plain loops, over shapes that each method divides otherwise.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stage_server/device/cpu/convolution_methods.h"
#include "tests/unit/device/harness.h"
#include "tests/unit/device/reference.h"

struct fixture {
	struct onednn *onednn;
	struct model model; // layer 1 is the convolution
	struct reference reference;
	enum kernel_argument poisoned; // has a NaN; ARGUMENT_COUNT: none has
	struct window_shape shape;
	struct convolution_methods *methods;
	uint32_t tested[METHOD_COUNT];
};

static void *aligned_bytes(uint64_t bytes)
{
	void *memory = aligned_alloc(128, bytes / 128 * 128 + 128);
	assert_non_null(memory);
	memset(memory, 0xff, bytes / 128 * 128 + 128); // NaN: what is not written shows
	return memory;
}

static void convert(struct onednn *onednn, const struct layout *from, const struct layout *to, void *values, void *into)
{
	struct error error = {0};
	struct kernel *kernel = NULL;
	harness_check(kernel_create_reorder(onednn, from, to, &kernel, &error), error);
	if (kernel == NULL) {
		memcpy(into, values, layout_bytes(from));
		return;
	}
	void *scratchpad = aligned_bytes(kernel_scratchpad_bytes(kernel));
	void *pointers[ARGUMENT_COUNT] = {[ARGUMENT_SOURCE] = values, [ARGUMENT_DESTINATION] = into};
	assert_true(kernel_run(kernel, scratchpad, pointers));
	free(scratchpad);
	kernel_destroy(kernel);
}

static struct layout *plain_layout(const struct fixture *f, enum kernel_argument argument)
{
	const struct window_shape *s = &f->shape;
	int64_t source[] = {s->n, s->channels, s->height, s->width};
	int64_t destination[] = {s->n, s->filters, s->output_height, s->output_width};
	int64_t weights[] = {s->filters, s->channels, s->kernel_size, s->kernel_size};
	switch (argument) {
	case ARGUMENT_SOURCE:
	case ARGUMENT_SOURCE_GRADIENT:
		return layout_create_plain(4, source);
	case ARGUMENT_DESTINATION:
	case ARGUMENT_DESTINATION_GRADIENT:
		return layout_create_plain(4, destination);
	case ARGUMENT_WEIGHTS:
	case ARGUMENT_WEIGHTS_GRADIENT:
		return layout_create_plain(4, weights);
	default:
		return layout_create_plain(1, weights);
	}
}

// The reference's values of an argument, and how many.
static double *expected(struct fixture *f, enum kernel_argument argument, uint64_t *ret_count)
{
	uint32_t weight = model_first_parameter(&f->model, 1);
	struct parameter description;
	struct reference *r = &f->reference;
	bool is_input = argument == ARGUMENT_SOURCE || argument == ARGUMENT_SOURCE_GRADIENT;
	*ret_count = reference_values_count(r, is_input ? 0 : 1);
	switch (argument) {
	case ARGUMENT_SOURCE:
		return r->values[0];
	case ARGUMENT_DESTINATION:
		return r->values[1];
	case ARGUMENT_SOURCE_GRADIENT:
		return r->gradients[0];
	case ARGUMENT_DESTINATION_GRADIENT:
		return r->gradients[1];
	default:
		break;
	}
	bool is_bias = argument == ARGUMENT_BIAS || argument == ARGUMENT_BIAS_GRADIENT;
	model_parameter(&f->model, weight + is_bias, &description);
	*ret_count = description.count;
	return argument == ARGUMENT_WEIGHTS || argument == ARGUMENT_BIAS ? r->parameters[weight + is_bias]
									 : r->parameter_gradients[weight + is_bias];
}

static void fill(const char *name, float scale, uint64_t count, double *values)
{
	float *filled = harness_filled(name, scale, count);
	for (uint64_t i = 0; i < count; i++)
		values[i] = filled[i];
	free(filled);
}

static void set_up(struct fixture *f, uint32_t n, uint32_t channels, uint32_t size, uint32_t filters, uint32_t kernel,
		   uint32_t stride, uint32_t padding)
{
	struct error error = {0};
	struct model model = {.name = "one", .image_size = size, .classes = 10, .layer_count = 2};
	model.layers[0] = (struct layer){
		.kind = LAYER_CONVOLUTION, .in_channels = 3, .out_channels = channels, .kernel_size = 1, .stride = 1};
	model.layers[1] = (struct layer){.kind = LAYER_CONVOLUTION,
					 .in_channels = channels,
					 .out_channels = filters,
					 .kernel_size = kernel,
					 .stride = stride,
					 .padding = padding};
	for (uint32_t i = 0; i < 2; i++)
		snprintf(model.layers[i].name, sizeof(model.layers[i].name), "layer.%u", i);
	harness_check(model_infer_shapes(&model, &error), error);
	f->model = model;
	const struct layer *layer = &f->model.layers[1];
	f->shape = (struct window_shape){.n = n,
					 .channels = channels,
					 .height = size,
					 .width = size,
					 .filters = filters,
					 .kernel_size = kernel,
					 .stride = stride,
					 .padding = padding,
					 .output_height = layer->output.height,
					 .output_width = layer->output.width};
	reference_init(&f->reference, &f->model, 1, 2, n);
	static const enum kernel_argument filled[] = {ARGUMENT_SOURCE, ARGUMENT_WEIGHTS, ARGUMENT_BIAS,
						      ARGUMENT_DESTINATION_GRADIENT};
	static const char *const names[] = {"source", "weights", "bias", "gradient"};
	for (int i = 0; i < 4; i++) {
		uint64_t count;
		double *values = expected(f, filled[i], &count);
		fill(names[i], i == 1 ? 0.1f : 1.0f, count, values);
		if (filled[i] == f->poisoned)
			values[count / 2] = NAN;
	}
	reference_forward(&f->reference);
	reference_backward(&f->reference);
}

static void tear_down(struct fixture *f)
{
	reference_fini(&f->reference);
}

static const struct layout *layout_of(const struct fixture *f, enum kernel_pass pass, enum convolution_method method,
				      enum kernel_argument argument)
{
	if (argument == ARGUMENT_SOURCE)
		return kernel_layout(f->methods->kernels[PASS_FORWARD][METHOD_DIRECT], argument);
	if (method != METHOD_IM2COL)
		return kernel_layout(f->methods->kernels[pass][method], argument);
	return argument == ARGUMENT_WEIGHTS_GRADIENT
		       ? im2col_layout(f->methods->im2col)
		       : kernel_layout(f->methods->kernels[pass][METHOD_DIRECT], argument);
}

// Of the largest value. Winograd's transforms round, too.
#define TOLERANCE          4e-6
#define WINOGRAD_TOLERANCE 1e-5

static const enum kernel_argument inputs[3][3] = {
	[PASS_FORWARD] = {ARGUMENT_SOURCE, ARGUMENT_WEIGHTS, ARGUMENT_BIAS},
	[PASS_BACKWARD_INPUT] = {ARGUMENT_DESTINATION_GRADIENT, ARGUMENT_WEIGHTS, ARGUMENT_WEIGHTS},
	[PASS_BACKWARD_WEIGHT] = {ARGUMENT_SOURCE, ARGUMENT_DESTINATION_GRADIENT, ARGUMENT_DESTINATION_GRADIENT},
};
static const enum kernel_argument outputs[3][2] = {
	[PASS_FORWARD] = {ARGUMENT_DESTINATION, ARGUMENT_DESTINATION},
	[PASS_BACKWARD_INPUT] = {ARGUMENT_SOURCE_GRADIENT, ARGUMENT_SOURCE_GRADIENT},
	[PASS_BACKWARD_WEIGHT] = {ARGUMENT_WEIGHTS_GRADIENT, ARGUMENT_BIAS_GRADIENT},
};

// Compares an output with `times` the reference's, in place.
static void check_output(struct fixture *f, enum kernel_pass pass, enum convolution_method method,
			 enum kernel_argument argument, void *values, double times)
{
	uint64_t count;
	double *wanted = expected(f, argument, &count), *scaled = calloc(count, sizeof(*scaled));
	assert_non_null(scaled);
	for (uint64_t i = 0; i < count; i++)
		scaled[i] = wanted[i] * times;
	struct layout *plain = plain_layout(f, argument);
	float *row_major = harness_floats(count);
	convert(f->onednn, layout_of(f, pass, method, argument), plain, values, row_major);
	char name[METHOD_NAME_SIZE], what[160];
	convolution_methods_name(f->methods, pass, method, name);
	snprintf(what, sizeof(what), "pass %d by %s of %lldx%lldx%lld, argument %d", pass, name, (long long)f->shape.n,
		 (long long)f->shape.channels, (long long)f->shape.height, argument);
	if (f->poisoned == ARGUMENT_COUNT)
		harness_assert_close(what, count, row_major, scaled,
				     method == METHOD_WINOGRAD ? WINOGRAD_TOLERANCE : TOLERANCE);
	for (uint64_t i = 0; i < count && f->poisoned != ARGUMENT_COUNT; i++)
		if (isnan(wanted[i]) && !isnan(row_major[i])) // Winograd's tiles have some more
			fail_msg("%s: element %llu is %g, not NaN", what, (unsigned long long)i, row_major[i]);
	free(row_major);
	free(scaled);
	layout_destroy(plain);
}

static void check_method(struct fixture *f, enum kernel_pass pass, enum convolution_method method, uint32_t threads)
{
	void *pointers[ARGUMENT_COUNT] = {0};
	for (int i = 0; i < 3; i++) {
		enum kernel_argument argument = inputs[pass][i];
		if (pointers[argument] != NULL)
			continue;
		uint64_t count;
		double *values = expected(f, argument, &count);
		float *row_major = harness_floats(count);
		for (uint64_t j = 0; j < count; j++)
			row_major[j] = (float)values[j];
		struct layout *plain = plain_layout(f, argument);
		const struct layout *layout = layout_of(f, pass, method, argument);
		pointers[argument] = aligned_bytes(layout_bytes(layout));
		convert(f->onednn, plain, layout, row_major, pointers[argument]);
		layout_destroy(plain);
		free(row_major);
	}
	for (int i = 0; i < 2; i++)
		if (pointers[outputs[pass][i]] == NULL)
			pointers[outputs[pass][i]] =
				aligned_bytes(layout_bytes(layout_of(f, pass, method, outputs[pass][i])));
	void *scratchpad = aligned_bytes(convolution_methods_scratchpad_bytes(f->methods));
	for (int times = 1; times <= (method == METHOD_IM2COL ? 2 : 1); times++) { // once more, added
		assert_true(
			convolution_methods_run(f->methods, pass, method, threads, scratchpad, times > 1, pointers));
		for (int i = 0; i < 2; i++)
			check_output(f, pass, method, outputs[pass][i], pointers[outputs[pass][i]], times);
	}
	free(scratchpad);
	for (int i = 0; i < ARGUMENT_COUNT; i++)
		free(pointers[i]);
	f->tested[method]++;
}

static void check_methods(struct fixture *f)
{
	for (enum kernel_pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++)
		for (enum convolution_method method = METHOD_DIRECT; method < METHOD_COUNT; method++)
			if (convolution_methods_have(f->methods, pass, method))
				check_method(f, pass, method, 1);
}

static void methods_every_one_computes_the_layer(void **state)
{
	static const uint32_t shapes[][7] = {
		// n, channels, size, filters, kernel, stride, padding
		{8, 32, 3, 48, 3, 1, 1},  // every window hangs over
		{2, 64, 13, 32, 3, 1, 1}, // what Winograd is for
		{4, 16, 20, 32, 3, 1, 1}, // more positions than im2col takes
		{3, 20, 7, 24, 5, 1, 2},  // channels that fill no vector
		{2, 3, 31, 16, 11, 4, 2}, // AlexNet's first
		{2, 16, 2, 16, 3, 2, 2},  // more padding than image
		{7, 256, 16, 8, 3, 1, 1}, // columns in parts, the last one smaller
		{3, 384, 16, 8, 5, 1, 2}, // a sample's columns are a part
		{2, 8, 1, 16, 1, 1, 0},   // one position
		{2, 512, 2, 64, 3, 1, 1}, // with AVX2, two layouts of the input
		{1, 16, 15, 16, 3, 1, 0},
	};
	struct error error = {0};
	struct fixture f = {.poisoned = ARGUMENT_COUNT};
	uint32_t reordered = 0;
	harness_check(onednn_create(&f.onednn, &error), error);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const uint32_t *s = shapes[i];
		set_up(&f, s[0], s[1], s[2], s[3], s[4], s[5], s[6]);
		harness_check(convolution_methods_create(f.onednn, &f.shape, true, true, &f.methods, &error), error);
		check_methods(&f);
		assert_int_equal(f.methods->im2col != NULL, f.shape.output_height * f.shape.output_width <= 256);
		reordered += f.methods->input_reorder != NULL;
		convolution_methods_destroy(f.methods);
		tear_down(&f);
	}
	onednn_destroy(f.onednn);
	assert_int_equal(f.tested[METHOD_DIRECT], 11 * 3);
	assert_int_equal(f.tested[METHOD_IM2COL], 10);
	// Where the library has the one and does the other.
	print_message("Winograd: %u passes; input reordered: %u\n", f.tested[METHOD_WINOGRAD], reordered);
}

// NaN in any of its inputs is in each output that depends on it: training that diverged must show.
static void methods_every_one_keeps_nan(void **state)
{
	static const enum kernel_argument poisoned[] = {ARGUMENT_SOURCE, ARGUMENT_WEIGHTS, ARGUMENT_BIAS,
							ARGUMENT_DESTINATION_GRADIENT};
	static const uint32_t sizes[] = {13, 20}; // the first with im2col
	struct error error = {0};
	struct fixture f = {0};
	harness_check(onednn_create(&f.onednn, &error), error);
	for (size_t s = 0; s < 2; s++)
		for (size_t i = 0; i < sizeof(poisoned) / sizeof(poisoned[0]); i++) {
			f.poisoned = poisoned[i];
			set_up(&f, 2, 64, sizes[s], 32, 3, 1, 1);
			harness_check(convolution_methods_create(f.onednn, &f.shape, true, true, &f.methods, &error),
				      error);
			check_methods(&f);
			convolution_methods_destroy(f.methods);
			tear_down(&f);
		}
	onednn_destroy(f.onednn);
}

// A shape that any plan may name: no size overflows, nothing is allocated, im2col is not offered.
static void methods_huge_shape_is_described(void **state)
{
	struct error error = {0};
	struct onednn *onednn = NULL;
	struct convolution_methods *methods = NULL;
	harness_check(onednn_create(&onednn, &error), error);
	struct window_shape shape = {.n = 65536,
				     .channels = 65536,
				     .height = 16,
				     .width = 16,
				     .filters = 4096,
				     .kernel_size = 3,
				     .stride = 1,
				     .padding = 1,
				     .output_height = 16,
				     .output_width = 16};
	if (convolution_methods_create(onednn, &shape, true, true, &methods, &error))
		assert_null(methods->im2col);
	convolution_methods_destroy(methods);
	onednn_destroy(onednn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(methods_every_one_computes_the_layer),
		cmocka_unit_test(methods_every_one_keeps_nan),
		cmocka_unit_test(methods_huge_shape_is_described),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
