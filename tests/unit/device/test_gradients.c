// Finite differences: for each layer alone, the slope of sum(output * direction) along sampled inputs and parameters is
// what the backward pass says. Independent of reference.c and of PyTorch.
#include "tests/unit/device/suite.h"

#include <math.h>

#include "tests/unit/device/rule.h"

enum { N = 2, SAMPLES = 40 };
static const double step = 1.0 / 64;

struct layer_test {
	struct harness *harness;
	struct program *program;
	struct program_spec spec;
	uint64_t in_count, out_count;
	float *input, *direction, *output;
};

static double value_at(struct layer_test *t)
{
	struct error error = {0};
	harness_check(t->harness->ops->write_input(t->program, 0, t->input, HARNESS_WAIT, &error), error);
	harness_forward(t->harness, t->program, &t->spec, 0, 0);
	harness_check(t->harness->ops->read_output(t->program, 0, t->output, HARNESS_WAIT, &error), error);
	double sum = 0.0;
	for (uint64_t i = 0; i < t->out_count; i++)
		sum += (double)t->output[i] * t->direction[i];
	return sum;
}

// The input: any values for layers that are linear; for ReLU and max pool all apart from each other and from 0 by more
// than the step, so that no difference crosses a kink.
static void fill_input(struct layer_test *t, const struct layer *layer)
{
	rule_fill("input", 1.0f, t->in_count, t->input);
	if (layer->kind == LAYER_RELU)
		for (uint64_t i = 0; i < t->in_count; i++)
			t->input[i] += t->input[i] > 0.0f ? 0.5f : -0.5f;
	if (layer->kind != LAYER_MAX_POOL)
		return;
	uint64_t width = layer->input.width;
	for (uint64_t i = 0; i < t->in_count; i++) {
		// Within any window of 3 x 3 or 2 x 2 the multiples of 1/4 differ; the sign differs between planes.
		uint64_t x = i % width, y = i / width % layer->input.height;
		float level = (float)((x % 3) * 3 + y % 3) * 0.25f;
		t->input[i] = level * (rule_hash(1, (uint32_t)(i / width / layer->input.height)) % 2 ? 1.0f : -1.0f);
	}
}

static void check_slope(const char *what, uint64_t element, double slope, double gradient, double largest)
{
	if (!(fabs(slope - gradient) <= 2e-3 * largest))
		fail_msg("%s, element %llu: the slope is %.6g, the gradient %.6g (largest %.6g)", what,
			 (unsigned long long)element, slope, gradient, largest);
}

static double largest_of(uint64_t count, const float *values)
{
	double largest = 0.0;
	for (uint64_t i = 0; i < count; i++)
		largest = fabs(values[i]) > largest ? fabs(values[i]) : largest;
	return largest;
}

static void check_layer(struct harness *harness, const struct model *model, uint32_t index)
{
	const struct device_ops *ops = harness->ops;
	const struct layer *layer = &model->layers[index];
	struct error error = {0};
	struct layer_test t = {
		.harness = harness,
		.spec = harness_spec(model, index, index + 1, N),
		.in_count = N * shape_count(layer->input),
		.out_count = N * shape_count(layer->output),
	};
	t.program = harness_program(harness, &t.spec);
	t.input = harness_floats(t.in_count);
	t.output = harness_floats(t.out_count);
	t.direction = harness_filled("direction", 1.0f, t.out_count);
	fill_input(&t, layer);
	value_at(&t);
	harness_check(ops->zero_gradients(t.program, &error), error);
	harness_check(ops->write_output_gradient(t.program, t.direction, HARNESS_WAIT, &error), error);
	harness_backward(harness, t.program, &t.spec, 0);
	if (index > 0) {
		float *gradient = harness_floats(t.in_count);
		harness_check(ops->read_input_gradient(t.program, gradient, HARNESS_WAIT, &error), error);
		double largest = largest_of(t.in_count, gradient);
		assert_true(largest > 0.0);
		for (uint32_t s = 0; s < SAMPLES; s++) {
			uint64_t i = rule_sample(layer->name, s, t.in_count);
			float kept = t.input[i];
			t.input[i] = kept + (float)step;
			double above = value_at(&t);
			t.input[i] = kept - (float)step;
			double below = value_at(&t);
			t.input[i] = kept;
			check_slope(layer->name, i, (above - below) / (2 * step), gradient[i], largest);
		}
		free(gradient);
	}
	uint32_t end = model_first_parameter(model, index + 1);
	for (uint32_t p = model_first_parameter(model, index); p < end; p++) {
		struct parameter parameter;
		model_parameter(model, p, &parameter);
		float *values = harness_filled(parameter.name, harness_scale(model, &parameter), parameter.count);
		float *gradient = harness_floats(parameter.count);
		harness_check(ops->read_gradient(t.program, p, gradient, HARNESS_WAIT, &error), error);
		double largest = largest_of(parameter.count, gradient);
		assert_true(largest > 0.0);
		for (uint32_t s = 0; s < SAMPLES; s++) {
			uint64_t i = rule_sample(parameter.name, s, parameter.count);
			float kept = values[i];
			values[i] = kept + (float)step;
			harness_check(ops->write_parameter(t.program, p, values, &error), error);
			double above = value_at(&t);
			values[i] = kept - (float)step;
			harness_check(ops->write_parameter(t.program, p, values, &error), error);
			double below = value_at(&t);
			double taken = ((double)kept + step) - ((double)kept - step);
			values[i] = kept;
			check_slope(parameter.name, i, (above - below) / taken, gradient[i], largest);
		}
		harness_check(ops->write_parameter(t.program, p, values, &error), error);
		free(values);
		free(gradient);
	}
	free(t.input);
	free(t.output);
	free(t.direction);
	ops->program_destroy(t.program);
}

static void backward_each_layer_equals_slopes(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	harness_small_model(0.4f, &model); // dropout's mask is the same each time
	for (uint32_t layer = 0; layer < model.layer_count; layer++)
		check_layer(harness, &model, layer);
	harness_close(harness);
}

// The slope of the loss itself, along the weights of the last layer.
static void loss_backward_equals_slopes(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	uint32_t last = model.layer_count - 1, p = model_parameter_count(&model) - 1, correct;
	struct program_spec spec = harness_spec(&model, last, last + 1, 4);
	spec.micro_batches = 3;
	struct program *program = harness_program(harness, &spec);
	float *input = harness_filled("input", 1.0f, 4 * 37), bias[10], gradient[10], loss[2];
	uint8_t labels[4] = {3, 1, 4, 1};
	rule_fill("bias", 1.0f, 10, bias);
	harness_check(ops->write_input(program, 0, input, HARNESS_WAIT, &error), error);
	harness_check(ops->load_labels(program, 0, labels, HARNESS_WAIT, &error), error);
	harness_check(ops->write_parameter(program, p, bias, &error), error);
	harness_forward(harness, program, &spec, 0, 0);
	harness_check(ops->zero_gradients(program, &error), error);
	harness_check(ops->loss_backward(program, 0, 1.0f, &error), error);
	harness_backward(harness, program, &spec, 0);
	harness_check(ops->read_gradient(program, p, gradient, HARNESS_WAIT, &error), error);
	for (int i = 0; i < 10; i++) {
		for (int side = 0; side < 2; side++) {
			float kept = bias[i];
			bias[i] = kept + (side == 0 ? 1.0f : -1.0f) * (float)step;
			harness_check(ops->write_parameter(program, p, bias, &error), error);
			harness_forward(harness, program, &spec, 0, 0);
			harness_loss(ops, program, 0, 0, &loss[side], &correct);
			bias[i] = kept;
		}
		// `loss` is the micro-batch's mean; its gradient counts towards the mean over the step's micro-batches.
		check_slope("bias of the last layer", (uint64_t)i, ((double)loss[0] - loss[1]) / (2 * step) / 3,
			    gradient[i], largest_of(10, gradient));
	}
	free(input);
	ops->program_destroy(program);
	harness_close(harness);
}

static const struct suite_case cases[] = {
	SUITE_CASE(backward_each_layer_equals_slopes),
	SUITE_CASE(loss_backward_equals_slopes),
};

int main(void)
{
	return suite_run("device gradients", cases, sizeof(cases) / sizeof(cases[0]));
}
