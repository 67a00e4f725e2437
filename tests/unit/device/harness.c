// See harness.h.
#include "tests/unit/device/harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/device/rule.h"

float *harness_floats(uint64_t count)
{
	float *values = calloc(count + 1, sizeof(float));
	assert_non_null(values);
	return values;
}

float *harness_filled(const char *name, float scale, uint64_t count)
{
	float *values = harness_floats(count);
	rule_fill(name, scale, count, values);
	return values;
}

struct harness *harness_open(const struct device_ops *ops, uint32_t threads)
{
	struct error error = {0};
	struct harness *harness = calloc(1, sizeof(*harness));
	assert_non_null(harness);
	harness->ops = ops;
#ifdef __SANITIZE_THREAD__
	threads = 1;
#endif
	struct device_options options = {.name = ops->name, .threads = threads};
	harness_check(ops->create(&options, &harness->device, &error), error);
	return harness;
}

void harness_close(struct harness *harness)
{
	harness->ops->destroy(harness->device);
	free(harness);
}

static void add_layer(struct model *model, struct layer layer)
{
	snprintf(layer.name, sizeof(layer.name), "layer.%u", model->layer_count);
	model->layers[model->layer_count++] = layer;
}

void harness_small_model(float dropout, struct model *ret_model)
{
	struct model model = {.name = "small", .image_size = 33, .classes = 10};
	struct layer relu = {.kind = LAYER_RELU};
	add_layer(&model, (struct layer){.kind = LAYER_CONVOLUTION,
					 .in_channels = 3,
					 .out_channels = 16,
					 .kernel_size = 5,
					 .stride = 2,
					 .padding = 2});
	add_layer(&model, relu);
	add_layer(&model, (struct layer){.kind = LAYER_MAX_POOL, .kernel_size = 3, .stride = 2});
	add_layer(&model, (struct layer){.kind = LAYER_CONVOLUTION,
					 .in_channels = 16,
					 .out_channels = 20,
					 .kernel_size = 3,
					 .stride = 1,
					 .padding = 1});
	add_layer(&model, relu);
	add_layer(&model, (struct layer){.kind = LAYER_CONVOLUTION,
					 .in_channels = 20,
					 .out_channels = 32,
					 .kernel_size = 3,
					 .stride = 1,
					 .padding = 1});
	add_layer(&model, relu);
	add_layer(&model, (struct layer){.kind = LAYER_CONVOLUTION,
					 .in_channels = 32,
					 .out_channels = 32,
					 .kernel_size = 3,
					 .stride = 1,
					 .padding = 1});
	add_layer(&model, relu);
	add_layer(&model, (struct layer){.kind = LAYER_MAX_POOL, .kernel_size = 2, .stride = 2});
	add_layer(&model, (struct layer){.kind = LAYER_ADAPTIVE_AVERAGE_POOL, .output_size = 5});
	add_layer(&model, (struct layer){.kind = LAYER_FLATTEN});
	add_layer(&model, (struct layer){.kind = LAYER_DROPOUT, .probability = dropout});
	add_layer(&model, (struct layer){.kind = LAYER_LINEAR, .in_channels = 32 * 5 * 5, .out_channels = 37});
	add_layer(&model, relu);
	add_layer(&model, (struct layer){.kind = LAYER_DROPOUT, .probability = dropout});
	add_layer(&model, (struct layer){.kind = LAYER_LINEAR, .in_channels = 37, .out_channels = 10});
	struct error error = {0};
	harness_check(model_infer_shapes(&model, &error), error);
	*ret_model = model;
}

struct program_spec harness_spec(const struct model *model, uint32_t first, uint32_t end, uint32_t n)
{
	return (struct program_spec){
		.model = model,
		.first_layer = first,
		.end_layer = end,
		.micro_batch_size = n,
		.micro_batches = 1,
		.slots = 1,
		.optimizer = {.kind = OPTIMIZER_SGD},
		.seed = 7,
		.training = true,
		.raw_image_size = 32,
		.mean = {0.49f, 0.48f, 0.45f},
		.standard_deviation = {0.25f, 0.24f, 0.26f},
	};
}

float harness_scale(const struct model *model, const struct parameter *parameter)
{
	const struct layer *layer = &model->layers[parameter->layer];
	float fan_in = (float)layer->in_channels;
	if (layer->kind == LAYER_CONVOLUTION)
		fan_in *= (float)(layer->kernel_size * layer->kernel_size);
	return parameter->is_bias ? 0.1f : sqrtf(6.0f / fan_in);
}

struct memory_use harness_plan_memory(struct harness *harness, const struct program_spec *spec)
{
	struct error error = {0};
	struct program *program = NULL;
	struct memory_use use;
	harness_check(harness->ops->program_create(harness->device, spec, &program, &error), error);
	harness->ops->program_memory(program, &use);
	harness->ops->program_destroy(program);
	return use;
}

struct program *harness_program(struct harness *harness, const struct program_spec *spec)
{
	struct error error = {0};
	struct program *program = NULL;
	harness_check(harness->ops->program_create(harness->device, spec, &program, &error), error);
	harness_check(harness->ops->program_allocate(program, &error), error);
	uint32_t end = model_first_parameter(spec->model, spec->end_layer);
	for (uint32_t p = model_first_parameter(spec->model, spec->first_layer); p < end; p++) {
		struct parameter parameter;
		model_parameter(spec->model, p, &parameter);
		float *values = harness_filled(parameter.name, harness_scale(spec->model, &parameter), parameter.count);
		harness_check(harness->ops->write_parameter(program, p, values, &error), error);
		free(values);
	}
	return program;
}

void harness_forward(struct harness *harness, struct program *program, const struct program_spec *spec, uint32_t slot,
		     uint64_t first_sample)
{
	struct error error = {0};
	for (uint32_t layer = spec->first_layer; layer < spec->end_layer; layer++)
		harness_check(harness->ops->forward(program, slot, layer, first_sample, &error), error);
}

void harness_loss(const struct device_ops *ops, struct program *program, uint32_t slot, uint32_t micro_batch,
		  float *ret_loss, uint32_t *ret_correct)
{
	struct error error = {0};
	float losses[64];
	uint32_t correct[64];
	assert_true(micro_batch < 64);
	harness_check(ops->loss(program, slot, micro_batch, &error), error);
	harness_check(ops->read_losses(program, micro_batch + 1, losses, correct, &error), error);
	*ret_loss = losses[micro_batch];
	*ret_correct = correct[micro_batch];
}

void harness_backward(struct harness *harness, struct program *program, const struct program_spec *spec, uint32_t slot)
{
	struct error error = {0};
	for (uint32_t layer = spec->end_layer; layer-- > spec->first_layer;) {
		harness_check(harness->ops->backward_weight(program, slot, layer, &error), error);
		harness_check(harness->ops->backward_input(program, slot, layer, &error), error);
	}
}

void harness_assert_close(const char *what, uint64_t count, const float *values, const double *expected,
			  double tolerance)
{
	double largest = 0.0, difference = 0.0;
	uint64_t where = 0;
	for (uint64_t i = 0; i < count; i++) {
		double d = fabs((double)values[i] - expected[i]);
		if (!(d <= difference)) {
			difference = d;
			where = i;
		}
		if (fabs(expected[i]) > largest)
			largest = fabs(expected[i]);
	}
	if (!(difference <= tolerance * largest))
		fail_msg("%s: element %llu of %llu is %.9g, expected %.9g; largest %.9g, relative %.3g", what,
			 (unsigned long long)where, (unsigned long long)count, values[where], expected[where], largest,
			 difference / largest);
}
