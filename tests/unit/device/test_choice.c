// Which kernels the CPU device uses: nothing is asked for before memory is planned but what is known, what is planned does not depend on
// the answers, every candidate computes the layer, and the one that the answer names is used.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/device/harness.h"
#include "tests/unit/device/picker.h"
#include "tests/unit/device/rule.h"
#include "coordinator/models/models.h"

static const struct device_ops *cpu(void)
{
	const struct device_ops *ops = NULL;
	struct error error = {0};
	harness_check(device_find("cpu", &ops, &error), error);
	return ops;
}

// A model of one linear layer.
static void linear_model(uint32_t in, uint32_t out, struct model *ret_model)
{
	struct error error = {0};
	harness_check(models_create_chain("alexnet", 64, 10, 0.0f, ret_model, &error), error);
	uint32_t last = ret_model->layer_count - 1;
	assert_int_equal(ret_model->layers[last].kind, LAYER_LINEAR);
	ret_model->layers[last].in_channels = ret_model->layers[last].input.channels = in;
	ret_model->layers[last].out_channels = ret_model->layers[last].output.channels = out;
}

// The largest layer that a plan can name: 16 GiB of weights and 32 GiB of values.
static void program_create_huge_layer_runs_nothing(void **state)
{
	struct harness *harness = harness_open(cpu(), 1);
	struct model model;
	static struct picker picker;
	picker_init(&picker);
	linear_model(65536, 65536, &model);
	struct program_spec spec = harness_spec(&model, model.layer_count - 1, model.layer_count, 65536);
	spec.chooser = &picker.chooser;
	struct memory_use use = harness_plan_memory(harness, &spec);
	assert_in_range(memory_use_total(&use), 64ull << 30, 256ull << 30);
	assert_int_equal(picker.recalls, 1);
	assert_int_equal(picker.open, 0);
	harness_close(harness);
}

// Three convolutions in small images, and what follows them.
static void small_model(struct model *ret_model)
{
	harness_small_model(0.0f, ret_model);
}

enum { N = 4, SLOTS = 3 };

struct outcome {
	float *gradients, *parameters; // of all parameters, after three micro-batches
	uint64_t count;
	struct memory_use memory;
};

static void read_gradients(const struct device_ops *ops, struct program *program, const struct model *model,
			   float *gradients)
{
	struct error error = {0};
	for (uint32_t i = 0; i < model_parameter_count(model); i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		harness_check(ops->read_gradient(program, i, gradients, HARNESS_WAIT, &error), error);
		gradients += parameter.count;
	}
}

// In the layouts that the chosen kernels give them: they come out again as they went in.
static void write_gradients(const struct device_ops *ops, struct program *program, const struct model *model,
			    uint64_t count, const float *gradients)
{
	struct error error = {0};
	const float *next = gradients;
	harness_check(ops->zero_gradients(program, &error), error);
	for (uint32_t i = 0; i < model_parameter_count(model); i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		harness_check(ops->write_gradient(program, i, next, HARNESS_WAIT, &error), error);
		next += parameter.count;
	}
	float *again = harness_floats(count);
	read_gradients(ops, program, model, again);
	assert_memory_equal(again, gradients, count * sizeof(float));
	free(again);
}

// Two steps with gradients that went out and in again; the outcome's are the second one's.
static void train(const struct device_ops *ops, struct device *device, const struct model *model, struct picker *picker,
		  struct outcome *ret)
{
	struct error error = {0};
	struct harness harness = {.ops = ops, .device = device};
	struct program_spec spec = harness_spec(model, 0, model->layer_count, N);
	spec.slots = spec.micro_batches = SLOTS;
	spec.chooser = &picker->chooser;
	spec.optimizer = (struct optimizer){.kind = OPTIMIZER_ADAM, .epsilon = 1e-4f};
	struct program *program = harness_program(&harness, &spec);
	ops->program_memory(program, &ret->memory);
	ret->count = 0;
	for (uint32_t i = 0; i < model_parameter_count(model); i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		ret->count += parameter.count;
	}
	ret->gradients = harness_floats(ret->count);
	ret->parameters = harness_floats(ret->count);
	for (uint64_t step = 0; step < 2; step++) {
		harness_check(ops->zero_gradients(program, &error), error);
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			uint8_t images[N * 3 * 32 * 32], labels[N];
			char name[32];
			snprintf(name, sizeof(name), "micro-batch %u", (unsigned)(step * SLOTS + slot));
			rule_fill_bytes(name, sizeof(images), images);
			rule_fill_labels(name, N, model->classes, labels);
			float loss;
			uint32_t correct;
			harness_check(ops->load_images(program, slot, images, HARNESS_WAIT, &error), error);
			harness_check(ops->load_labels(program, slot, labels, HARNESS_WAIT, &error), error);
			harness_forward(&harness, program, &spec, slot, 0);
			harness_loss(ops, program, slot, 0, &loss, &correct);
			harness_check(ops->loss_backward(program, slot, 1.0f, &error), error);
			harness_backward(&harness, program, &spec, slot);
		}
		read_gradients(ops, program, model, ret->gradients);
		write_gradients(ops, program, model, ret->count, ret->gradients);
		struct optimizer_step settings = {
			.step = step, .learning_rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .gradient_scale = 1.0f};
		harness_check(ops->optimizer_step(program, &settings, &error), error);
	}
	float *value = ret->parameters;
	for (uint32_t i = 0; i < model_parameter_count(model); i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		harness_check(ops->read_parameter(program, i, value, &error), error);
		value += parameter.count;
	}
	ops->program_destroy(program);
}

static void outcome_fini(struct outcome *outcome)
{
	free(outcome->gradients);
	free(outcome->parameters);
}

struct wish {
	const char *operation, *name; // in the keys of its questions; the kernel that is wanted
	uint32_t granted;
};

static uint32_t pick_wish(void *user, const struct choice *choice)
{
	struct wish *wish = user;
	uint32_t place = strstr(choice->key, wish->operation) != NULL ? choice_find(choice, wish->name) : choice->count;
	wish->granted += place < choice->count;
	return place; // modulo the count: the first
}

static void assert_close(const char *what, uint64_t count, const float *values, const float *expected, double tolerance)
{
	double *wanted = calloc(count, sizeof(*wanted));
	assert_non_null(wanted);
	for (uint64_t i = 0; i < count; i++)
		wanted[i] = expected[i];
	harness_assert_close(what, count, values, wanted, tolerance);
	free(wanted);
}

// The answer decides; and gradients in another layout reach the optimizer as they should.
static void program_allocate_uses_what_the_answer_says(void **state)
{
	const struct device_ops *ops = cpu();
	struct model model;
	static struct picker picker;
	struct wish wish = {.operation = "convolution-backward-weight/", .name = "im2col/sgemm"};
	struct outcome direct, columns, again;
	small_model(&model);
	struct harness *harness = harness_open(ops, 1);
	picker_init(&picker);
	train(ops, harness->device, &model, &picker, &direct);
	picker.pick = pick_wish;
	picker.user = &wish;
	train(ops, harness->device, &model, &picker, &columns);
	assert_int_equal(wish.granted, 3); // the fourth's images are large
	train(ops, harness->device, &model, &picker, &again);
	assert_true(memcmp(direct.gradients, columns.gradients, direct.count * sizeof(float)) != 0);
	assert_memory_equal(columns.gradients, again.gradients, direct.count * sizeof(float));
	assert_memory_equal(columns.parameters, again.parameters, direct.count * sizeof(float));
	assert_close("gradients", direct.count, columns.gradients, direct.gradients, 2e-5);
	assert_close("parameters", direct.count, columns.parameters, direct.parameters, 2e-5);
	// What is chosen changes no size.
	assert_memory_equal(&direct.memory, &columns.memory, sizeof(direct.memory));
	outcome_fini(&direct);
	outcome_fini(&columns);
	outcome_fini(&again);
	harness_close(harness);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(program_create_huge_layer_runs_nothing),
		cmocka_unit_test(program_allocate_uses_what_the_answer_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
