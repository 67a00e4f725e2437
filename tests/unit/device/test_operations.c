// Every layer kind, alone and in every run of neighbours, forward and both gradients, against the plain reference; the
// loss, the images, dropout and the optimizers. The same cases for every device.
#include "tests/unit/device/suite.h"

#include <math.h>
#include <string.h>

#include "common/base/random.h"
#include "tests/unit/device/reference.h"
#include "tests/unit/device/rule.h"

static void widen(uint64_t count, const float *from, double *to)
{
	for (uint64_t i = 0; i < count; i++)
		to[i] = from[i];
}

// One run of layers on the device and by the reference, on the same input and output gradient.
static void check_run(struct harness *harness, const struct model *model, uint32_t first, uint32_t end, uint32_t n)
{
	struct error error = {0};
	const struct device_ops *ops = harness->ops;
	struct program_spec spec = harness_spec(model, first, end, n);
	struct program *program = harness_program(harness, &spec);
	struct reference reference;
	reference_init(&reference, model, first, end, n);
	char what[96];
	uint32_t last = end - first;
	uint64_t in_count = reference_values_count(&reference, 0), out_count = reference_values_count(&reference, last);
	float *input = harness_filled("input", 1.0f, in_count);
	float *gradient = harness_filled("output gradient", 1.0f, out_count);
	float *output = harness_floats(out_count), *input_gradient = harness_floats(in_count);
	widen(in_count, input, reference.values[0]);
	widen(out_count, gradient, reference.gradients[last]);
	uint32_t end_parameter = model_first_parameter(model, end);
	for (uint32_t p = model_first_parameter(model, first); p < end_parameter; p++) {
		struct parameter parameter;
		model_parameter(model, p, &parameter);
		float *values = harness_filled(parameter.name, harness_scale(model, &parameter), parameter.count);
		widen(parameter.count, values, reference.parameters[p]);
		free(values);
	}
	reference_forward(&reference);
	reference_backward(&reference);

	harness_check(ops->write_input(program, 0, input, HARNESS_WAIT, &error), error);
	harness_forward(harness, program, &spec, 0, 0);
	harness_check(ops->read_output(program, 0, output, HARNESS_WAIT, &error), error);
	snprintf(what, sizeof(what), "output of layers [%u, %u)", first, end);
	harness_assert_close(what, out_count, output, reference.values[last], 1e-5);
	harness_check(ops->zero_gradients(program, &error), error);
	harness_check(ops->write_output_gradient(program, gradient, HARNESS_WAIT, &error), error);
	harness_backward(harness, program, &spec, 0);
	if (first > 0) {
		harness_check(ops->read_input_gradient(program, input_gradient, HARNESS_WAIT, &error), error);
		snprintf(what, sizeof(what), "input gradient of layers [%u, %u)", first, end);
		harness_assert_close(what, in_count, input_gradient, reference.gradients[0], 1e-5);
	}
	for (uint32_t p = model_first_parameter(model, first); p < end_parameter; p++) {
		struct parameter parameter;
		model_parameter(model, p, &parameter);
		float *values = harness_floats(parameter.count);
		harness_check(ops->read_gradient(program, p, values, HARNESS_WAIT, &error), error);
		snprintf(what, sizeof(what), "gradient of %s in layers [%u, %u)", parameter.name, first, end);
		harness_assert_close(what, parameter.count, values, reference.parameter_gradients[p], 1e-5);
		harness_check(ops->read_parameter(program, p, values, &error), error);
		harness_assert_close(parameter.name, parameter.count, values, reference.parameters[p], 0.0);
		free(values);
	}
	free(input);
	free(gradient);
	free(output);
	free(input_gradient);
	reference_fini(&reference);
	ops->program_destroy(program);
}

static void forward_and_backward_each_layer_equal_reference(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	harness_small_model(0.0f, &model);
	for (uint32_t layer = 0; layer < model.layer_count; layer++)
		check_run(harness, &model, layer, layer + 1, 3);
	harness_close(harness);
}

static void forward_and_backward_runs_of_layers_equal_reference(void **state)
{
	struct harness *harness = harness_open(*state, 2);
	struct model model;
	harness_small_model(0.0f, &model);
	for (uint32_t layer = 0; layer + 2 <= model.layer_count; layer++)
		check_run(harness, &model, layer, layer + 2, 2);
	for (uint32_t layer = 0; layer + 3 <= model.layer_count; layer++)
		check_run(harness, &model, layer, layer + 3, 2);
	check_run(harness, &model, 0, model.layer_count, 4);
	check_run(harness, &model, 1, model.layer_count, 1);
	harness_close(harness);
}

// A second micro-batch adds to the gradients of the first; zero_gradients starts afresh.
static void backward_weight_second_micro_batch_adds(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, 2);
	struct program *program = harness_program(harness, &spec);
	uint8_t images[2 * 3 * 32 * 32], labels[2];
	uint32_t parameters = model_parameter_count(&model), correct;
	float loss;
	rule_fill_labels("labels", 2, 10, labels);
	harness_check(ops->load_labels(program, 0, labels, HARNESS_WAIT, &error), error);
	for (uint32_t p = 0; p < parameters; p++) {
		struct parameter parameter;
		model_parameter(&model, p, &parameter);
		float *parts[3];
		for (int part = 0; part < 3; part++) { // first, second, both
			harness_check(ops->zero_gradients(program, &error), error);
			for (int batch = 0; batch < 2; batch++) {
				if (part < 2 && batch != part)
					continue;
				rule_fill_bytes(batch == 0 ? "first" : "second", sizeof(images), images);
				harness_check(ops->load_images(program, 0, images, HARNESS_WAIT, &error), error);
				harness_forward(harness, program, &spec, 0, 0);
				harness_loss(ops, program, 0, 0, &loss, &correct);
				harness_check(ops->loss_backward(program, 0, 1.0f, &error), error);
				harness_backward(harness, program, &spec, 0);
			}
			parts[part] = harness_floats(parameter.count);
			harness_check(ops->read_gradient(program, p, parts[part], HARNESS_WAIT, &error), error);
		}
		double *sum = calloc(parameter.count, sizeof(*sum));
		assert_non_null(sum);
		for (uint64_t i = 0; i < parameter.count; i++)
			sum[i] = (double)parts[0][i] + parts[1][i];
		harness_assert_close(parameter.name, parameter.count, parts[2], sum, 1e-6);
		free(sum);
		for (int part = 0; part < 3; part++)
			free(parts[part]);
	}
	ops->program_destroy(program);
	harness_close(harness);
}

// A ReLU in the same program may be computed with the layer before it; one in the next program cannot.
static void forward_fused_relu_equals_separate_to_the_bit(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	for (uint32_t layer = 0; layer + 1 < model.layer_count; layer++) {
		if (model.layers[layer + 1].kind != LAYER_RELU)
			continue;
		struct program_spec both = harness_spec(&model, layer, layer + 2, 3);
		struct program_spec one = harness_spec(&model, layer, layer + 1, 3);
		struct program_spec two = harness_spec(&model, layer + 1, layer + 2, 3);
		struct program *fused = harness_program(harness, &both), *before = harness_program(harness, &one),
			       *after = harness_program(harness, &two);
		uint64_t in = 3 * shape_count(model.layers[layer].input),
			 out = 3 * shape_count(model.layers[layer].output);
		float *input = harness_filled("input", 1.0f, in), *expected = harness_floats(out),
		      *between = harness_floats(out), *output = harness_floats(out);
		harness_check(ops->write_input(fused, 0, input, HARNESS_WAIT, &error), error);
		harness_forward(harness, fused, &both, 0, 0);
		harness_check(ops->read_output(fused, 0, output, HARNESS_WAIT, &error), error);
		harness_check(ops->write_input(before, 0, input, HARNESS_WAIT, &error), error);
		harness_forward(harness, before, &one, 0, 0);
		harness_check(ops->read_output(before, 0, between, HARNESS_WAIT, &error), error);
		harness_check(ops->write_input(after, 0, between, HARNESS_WAIT, &error), error);
		harness_forward(harness, after, &two, 0, 0);
		harness_check(ops->read_output(after, 0, expected, HARNESS_WAIT, &error), error);
		assert_memory_equal(output, expected, out * sizeof(float));
		for (uint64_t i = 0; i < out; i++)
			assert_true(output[i] >= 0.0f);
		free(input);
		free(expected);
		free(between);
		free(output);
		ops->program_destroy(fused);
		ops->program_destroy(before);
		ops->program_destroy(after);
	}
	harness_close(harness);
}

// A program of the last layer alone, its input chosen so that the logits are what the test wants.
static void loss_and_gradient_equal_reference(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	uint32_t last = model.layer_count - 1;
	const float scales[] = {0.1f, 1.0f, 100.0f, 10000.0f}; // the largest overflow exp
	for (uint32_t s = 0; s < sizeof(scales) / sizeof(scales[0]); s++) {
		struct program_spec spec = harness_spec(&model, last, last + 1, 9);
		spec.micro_batches = 4;
		struct program *program = harness_program(harness, &spec);
		struct reference reference;
		reference_init(&reference, &model, last, last + 1, 9);
		float *input = harness_filled("logits", scales[s], 9 * 37), logits[9 * 10], loss = 0.0f;
		uint8_t labels[9];
		uint32_t correct = 99, expected_correct = 0;
		rule_fill_labels("loss", 9, 10, labels);
		harness_check(ops->write_input(program, 0, input, HARNESS_WAIT, &error), error);
		harness_check(ops->load_labels(program, 0, labels, HARNESS_WAIT, &error), error);
		harness_forward(harness, program, &spec, 0, 0);
		harness_check(ops->read_output(program, 0, logits, HARNESS_WAIT, &error), error);
		widen(90, logits, reference.values[1]);
		double expected = reference_loss(&reference, labels, 9 * 4, &expected_correct);
		harness_loss(ops, program, 0, 0, &loss, &correct);
		harness_assert_close("loss", 1, &loss, &expected, 1e-6);
		assert_int_equal(correct, expected_correct);
		harness_check(ops->zero_gradients(program, &error), error);
		harness_check(ops->loss_backward(program, 0, 1.0f, &error), error);
		harness_backward(harness, program, &spec, 0);
		float bias_gradient[10];
		double expected_bias[10] = {0};
		for (int i = 0; i < 90; i++)
			expected_bias[i % 10] += reference.gradients[1][i];
		harness_check(ops->read_gradient(program, model_parameter_count(&model) - 1, bias_gradient,
						 HARNESS_WAIT, &error),
			      error);
		harness_assert_close("gradient of the logits, summed", 10, bias_gradient, expected_bias, 1e-5);
		free(input);
		reference_fini(&reference);
		ops->program_destroy(program);
	}
	harness_close(harness);
}

static void load_labels_label_too_large_is_refused(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	struct program_spec spec = harness_spec(&model, model.layer_count - 1, model.layer_count, 3);
	struct program *program = harness_program(harness, &spec);
	assert_false(harness->ops->load_labels(program, 0, (uint8_t[]){9, 10, 0}, HARNESS_WAIT, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "label 10 of sample 1"));
	assert_false(
		harness->ops->load_labels(program, 1, (uint8_t[]){0, 0, 0}, HARNESS_WAIT, &error)); // there is one slot
	harness->ops->program_destroy(program);
	harness_close(harness);
}

static void load_images_sizes_equal_reference(void **state)
{
	struct harness *harness = harness_open(*state, 2);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	const uint32_t raws[] = {32, 32, 32, 32, 7, 1}, sizes[] = {64, 63, 32, 17, 40, 16};
	for (int i = 0; i < 6; i++) {
		struct model model = {.name = "identity", .image_size = sizes[i], .classes = 3, .layer_count = 1};
		model.layers[0] = (struct layer){.kind = LAYER_DROPOUT, .name = "identity"};
		model.layers[0].input = model.layers[0].output = (struct shape){3, sizes[i], sizes[i]};
		struct program_spec spec = harness_spec(&model, 0, 1, 2);
		spec.raw_image_size = raws[i];
		struct program *program = harness_program(harness, &spec);
		uint64_t bytes = 2ull * 3 * raws[i] * raws[i], count = 2ull * 3 * sizes[i] * sizes[i];
		uint8_t *images = malloc(bytes);
		float *values = harness_floats(count);
		double *expected = calloc(count, sizeof(*expected));
		assert_true(images != NULL && expected != NULL);
		rule_fill_bytes("images", bytes, images);
		reference_images(images, 2, raws[i], sizes[i], spec.mean, spec.standard_deviation, expected);
		harness_check(ops->load_images(program, 0, images, HARNESS_WAIT, &error), error);
		harness_forward(harness, program, &spec, 0, 0);
		harness_check(ops->read_output(program, 0, values, HARNESS_WAIT, &error), error);
		harness_assert_close("images", count, values, expected, 1e-6);
		free(images);
		free(values);
		free(expected);
		ops->program_destroy(program);
	}
	harness_close(harness);
}

enum { DROPOUT_LAYER = 12, DROPOUT_ELEMENTS = 800 };

// Ones through a dropout: what comes out is the mask, scaled.
static void drop_ones(struct harness *harness, const struct model *model, uint32_t n, uint64_t first_sample,
		      float *ret_values)
{
	struct error error = {0};
	struct program_spec spec = harness_spec(model, DROPOUT_LAYER, DROPOUT_LAYER + 1, n);
	struct program *program = harness_program(harness, &spec);
	for (uint64_t i = 0; i < n * DROPOUT_ELEMENTS; i++)
		ret_values[i] = 1.0f;
	harness_check(harness->ops->write_input(program, 0, ret_values, HARNESS_WAIT, &error), error);
	harness_forward(harness, program, &spec, 0, first_sample);
	harness_check(harness->ops->read_output(program, 0, ret_values, HARNESS_WAIT, &error), error);
	// The gradient passes where the value did, scaled alike.
	float *gradient = harness_filled("gradient", 1.0f, n * DROPOUT_ELEMENTS);
	float *passed = harness_floats(n * DROPOUT_ELEMENTS);
	harness_check(harness->ops->write_output_gradient(program, gradient, HARNESS_WAIT, &error), error);
	harness_backward(harness, program, &spec, 0);
	harness_check(harness->ops->read_input_gradient(program, passed, HARNESS_WAIT, &error), error);
	for (uint64_t i = 0; i < n * DROPOUT_ELEMENTS; i++)
		assert_true(passed[i] == gradient[i] * ret_values[i]);
	free(gradient);
	free(passed);
	harness->ops->program_destroy(program);
}

static void dropout_mask_is_keyed_by_seed_name_and_sample(void **state)
{
	struct harness *harness = harness_open(*state, 2);
	struct model model;
	harness_small_model(0.3f, &model);
	assert_int_equal(shape_count(model.layers[DROPOUT_LAYER].input), DROPOUT_ELEMENTS);
	enum { N = 16, FIRST = 1000 };
	float *whole = harness_floats(N * DROPOUT_ELEMENTS), *parts = harness_floats(N * DROPOUT_ELEMENTS);
	drop_ones(harness, &model, N, FIRST, whole);
	struct random_key key = random_key_make(7, RANDOM_DROPOUT, random_hash_name(model.layers[DROPOUT_LAYER].name));
	uint64_t kept = 0;
	for (uint64_t sample = 0; sample < N; sample++)
		for (uint64_t e = 0; e < DROPOUT_ELEMENTS; e++) {
			uint32_t words[4];
			random_block(key, FIRST + sample, e / 4, words);
			bool keep = random_uniform(words[e % 4]) >= 0.3f;
			assert_true(whole[sample * DROPOUT_ELEMENTS + e] == (keep ? 1.0f / (1.0f - 0.3f) : 0.0f));
			kept += keep;
		}
	// Binomial(12800, 0.7): five standard deviations
	assert_true(fabs((double)kept - 0.7 * N * DROPOUT_ELEMENTS) < 5 * sqrt(0.21 * N * DROPOUT_ELEMENTS));
	for (uint32_t size = 1; size <= N; size *= 2) {
		for (uint32_t sample = 0; sample < N; sample += size)
			drop_ones(harness, &model, size, FIRST + sample, parts + sample * DROPOUT_ELEMENTS);
		assert_memory_equal(parts, whole, N * DROPOUT_ELEMENTS * sizeof(float));
	}
	drop_ones(harness, &model, N, FIRST + N, parts);
	assert_memory_not_equal(parts, whole, N * DROPOUT_ELEMENTS * sizeof(float));
	free(whole);
	free(parts);
	harness_close(harness);
}

static void dropout_without_training_is_the_identity(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct error error = {0};
	struct model model;
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, DROPOUT_LAYER, DROPOUT_LAYER + 1, 2);
	spec.training = false;
	struct program *program = harness_program(harness, &spec);
	float *input = harness_filled("input", 1.0f, 2 * DROPOUT_ELEMENTS),
	      *output = harness_floats(2 * DROPOUT_ELEMENTS);
	harness_check(harness->ops->write_input(program, 0, input, HARNESS_WAIT, &error), error);
	harness_forward(harness, program, &spec, 0, 0);
	harness_check(harness->ops->read_output(program, 0, output, HARNESS_WAIT, &error), error);
	assert_memory_equal(output, input, 2 * DROPOUT_ELEMENTS * sizeof(float));
	assert_false(harness->ops->backward_weight(program, 0, DROPOUT_LAYER, &error));
	free(input);
	free(output);
	harness->ops->program_destroy(program);
	harness_close(harness);
}

static const struct {
	struct optimizer optimizer;
	float beta1, beta2;
} optimizers[] = {
	{{.kind = OPTIMIZER_SGD}, 0.0f, 0.0f},
	{{.kind = OPTIMIZER_SGD, .weight_decay = 0.01f}, 0.9f, 0.0f},
	{{.kind = OPTIMIZER_SGD, .weight_decay = 0.01f, .dampening = 0.3f}, 0.9f, 0.0f},
	{{.kind = OPTIMIZER_SGD, .weight_decay = 0.05f, .nesterov = true}, 0.8f, 0.0f},
	{{.kind = OPTIMIZER_ADAM, .epsilon = 1e-8f}, 0.9f, 0.999f},
	{{.kind = OPTIMIZER_ADAM, .epsilon = 1e-6f, .weight_decay = 0.1f}, 0.8f, 0.99f},
	{{.kind = OPTIMIZER_ADAMW, .epsilon = 1e-8f, .weight_decay = 0.1f}, 0.9f, 0.999f},
	{{.kind = OPTIMIZER_ADAM, .epsilon = 0.0f}, 0.9f, 0.999f}, // the padding of blocked layouts stays 0
	{{.kind = OPTIMIZER_SGD, .no_momentum = true, .weight_decay = 0.01f}, 0.0f, 0.0f},
	{{.kind = OPTIMIZER_LAMB, .epsilon = 1e-8f, .minimum_coefficient = 0.01f, .maximum_coefficient = 10.0f},
	 0.9f,
	 0.999f},
	{{.kind = OPTIMIZER_LAMB, .weight_decay = 0.1f, .minimum_coefficient = 0.0f, .maximum_coefficient = 1e9f},
	 0.8f,
	 0.99f},
	{{.kind = OPTIMIZER_LAMB,
	  .epsilon = 1e-6f,
	  .epsilon_inside_root = true,
	  .no_bias_correction = true,
	  .minimum_coefficient = 0.3f,
	  .maximum_coefficient = 0.3f},
	 0.9f,
	 0.9f},
	{{.kind = OPTIMIZER_LION, .weight_decay = 0.1f}, 0.9f, 0.99f},
	{{.kind = OPTIMIZER_ADAGRAD, .epsilon = 1e-10f, .weight_decay = 0.1f}, 0.0f, 0.0f},
	{{.kind = OPTIMIZER_ADAGRAD, .epsilon = 0.0f}, 0.0f, 0.0f},
};

// Three steps of two layers, one with padded channels, on the device's own gradients.
static void optimizer_step_three_steps_equal_reference(void **state)
{
	struct harness *harness = harness_open(*state, 2);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	enum { FIRST = 3, END = 6, N = 2 };
	uint64_t in = N * shape_count(model.layers[FIRST].input), out = N * shape_count(model.layers[END - 1].output);
	float *input = harness_filled("input", 1.0f, in), *output = harness_floats(out);
	for (uint32_t o = 0; o < sizeof(optimizers) / sizeof(optimizers[0]); o++) {
		struct program_spec spec = harness_spec(&model, FIRST, END, N);
		spec.optimizer = optimizers[o].optimizer;
		struct program *program = harness_program(harness, &spec);
		uint32_t begin = model_first_parameter(&model, FIRST), end = model_first_parameter(&model, END);
		double *values[4], *states[4];
		struct parameter parameters[4];
		assert_int_equal(end - begin, 4);
		for (uint32_t p = 0; p < 4; p++) {
			model_parameter(&model, begin + p, &parameters[p]);
			uint64_t count = parameters[p].count;
			float *initial =
				harness_filled(parameters[p].name, harness_scale(&model, &parameters[p]), count);
			values[p] = calloc(count, sizeof(double));
			states[p] = calloc(2 * count, sizeof(double));
			assert_true(values[p] != NULL && states[p] != NULL);
			widen(count, initial, values[p]);
			free(initial);
		}
		for (uint64_t step = 0; step < 3; step++) {
			struct optimizer_step settings = {
				.step = step,
				.learning_rate = 0.01f / (float)(step + 1),
				.beta1 = optimizers[o].beta1,
				.beta2 = optimizers[o].beta2,
				.gradient_scale = step == 1 ? 0.5f : 1.0f,
			};
			char name[32];
			snprintf(name, sizeof(name), "gradient %d", (int)step);
			rule_fill(name, 1.0f, out, output);
			harness_check(ops->write_input(program, 0, input, HARNESS_WAIT, &error), error);
			harness_forward(harness, program, &spec, 0, 0);
			harness_check(ops->zero_gradients(program, &error), error);
			harness_check(ops->write_output_gradient(program, output, HARNESS_WAIT, &error), error);
			harness_backward(harness, program, &spec, 0);
			float *gradients[4];
			for (uint32_t p = 0; p < 4; p++) {
				gradients[p] = harness_floats(parameters[p].count);
				harness_check(
					ops->read_gradient(program, begin + p, gradients[p], HARNESS_WAIT, &error),
					error);
			}
			harness_check(ops->optimizer_step(program, &settings, &error), error);
			for (uint32_t p = 0; p < 4; p++) {
				uint64_t count = parameters[p].count;
				double *wide = calloc(count, sizeof(double));
				assert_non_null(wide);
				widen(count, gradients[p], wide);
				reference_optimizer(&spec.optimizer, &settings, count, wide, values[p], states[p]);
				harness_check(ops->read_parameter(program, begin + p, gradients[p], &error), error);
				char what[96];
				snprintf(what, sizeof(what), "parameter %u, optimizer %u, step %d", p, o, (int)step);
				harness_assert_close(what, count, gradients[p], values[p], 1e-5);
				free(wide);
				free(gradients[p]);
			}
		}
		for (uint32_t p = 0; p < 4; p++) {
			free(values[p]);
			free(states[p]);
		}
		ops->program_destroy(program);
	}
	free(input);
	free(output);
	harness_close(harness);
}

static void gradient_squares_equal_sums_over_gradients(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	struct program_spec spec = harness_spec(&model, 3, 6, 2);
	struct program *program = harness_program(harness, &spec);
	uint64_t in = 2 * shape_count(model.layers[3].input), out = 2 * shape_count(model.layers[5].output);
	float *input = harness_filled("input", 1.0f, in), *gradient = harness_filled("gradient", 1.0f, out);
	double squares[4];
	harness_check(ops->gradient_squares(program, squares, &error), error);
	for (int p = 0; p < 4; p++)
		assert_true(squares[p] == 0.0); // nothing was computed yet
	harness_check(ops->write_input(program, 0, input, HARNESS_WAIT, &error), error);
	harness_forward(harness, program, &spec, 0, 0);
	harness_check(ops->write_output_gradient(program, gradient, HARNESS_WAIT, &error), error);
	harness_backward(harness, program, &spec, 0);
	harness_check(ops->gradient_squares(program, squares, &error), error);
	for (uint32_t p = 0; p < 4; p++) {
		struct parameter parameter;
		model_parameter(&model, model_first_parameter(&model, 3) + p, &parameter);
		float *values = harness_floats(parameter.count);
		harness_check(
			ops->read_gradient(program, model_first_parameter(&model, 3) + p, values, HARNESS_WAIT, &error),
			error);
		double sum = 0.0;
		for (uint64_t i = 0; i < parameter.count; i++)
			sum += (double)values[i] * values[i];
		assert_true(sum > 0.0 && fabs(squares[p] - sum) <= 1e-12 * sum);
		free(values);
	}
	free(input);
	free(gradient);
	ops->program_destroy(program);
	harness_close(harness);
}

static const struct suite_case cases[] = {
	SUITE_CASE(forward_and_backward_each_layer_equal_reference),
	SUITE_CASE(forward_and_backward_runs_of_layers_equal_reference),
	SUITE_CASE(backward_weight_second_micro_batch_adds),
	SUITE_CASE(forward_fused_relu_equals_separate_to_the_bit),
	SUITE_CASE(loss_and_gradient_equal_reference),
	SUITE_CASE(load_labels_label_too_large_is_refused),
	SUITE_CASE(load_images_sizes_equal_reference),
	SUITE_CASE(dropout_mask_is_keyed_by_seed_name_and_sample),
	SUITE_CASE(dropout_without_training_is_the_identity),
	SUITE_CASE(optimizer_step_three_steps_equal_reference),
	SUITE_CASE(gradient_squares_equal_sums_over_gradients),
};

int main(void)
{
	return suite_run("device operations", cases, sizeof(cases) / sizeof(cases[0]));
}
