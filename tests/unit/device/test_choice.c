// Kernels that the CPU device chooses by timing: nothing is timed while memory is planned, what is planned does not
// depend on the choice, every candidate computes the layer, and a choice that is remembered is the one that is used.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "stage_server/device/cpu/convolution_methods.h"
#include "tests/unit/device/harness.h"
#include "tests/unit/device/rule.h"

static const struct device_ops *cpu(void)
{
	const struct device_ops *ops = NULL;
	struct error error = {0};
	harness_check(device_find("cpu", &ops, &error), error);
	return ops;
}

static int64_t tuning_file_bytes(const struct harness *harness)
{
	char path[128];
	struct stat status;
	snprintf(path, sizeof(path), "%s/tuning", harness->folder);
	assert_int_equal(stat(path, &status), 0);
	return (int64_t)status.st_size;
}

// A model of one linear layer.
static void linear_model(uint32_t in, uint32_t out, struct model *ret_model)
{
	struct error error = {0};
	harness_check(model_create("alexnet", 64, 10, 0.0f, ret_model, &error), error);
	uint32_t last = ret_model->layer_count - 1;
	assert_int_equal(ret_model->layers[last].kind, LAYER_LINEAR);
	ret_model->layers[last].in_channels = ret_model->layers[last].input.channels = in;
	ret_model->layers[last].out_channels = ret_model->layers[last].output.channels = out;
}

// The largest layer that a plan can name: 16 GiB of weights and 32 GiB of values.
static void program_create_huge_layer_times_nothing(void **state)
{
	struct harness *harness = harness_open(cpu(), 1);
	struct model model;
	linear_model(65536, 65536, &model);
	struct program_spec spec = harness_spec(&model, model.layer_count - 1, model.layer_count, 65536);
	struct memory_use use = {0};
	use = harness_plan_memory(harness, &spec);
	assert_in_range(memory_use_total(&use), 64ull << 30, 256ull << 30);
	assert_int_equal(tuning_file_bytes(harness), 0);
	harness_close(harness);
}

static void program_allocate_times_what_create_did_not(void **state)
{
	struct harness *harness = harness_open(cpu(), 1);
	struct error error = {0};
	struct model model;
	harness_check(model_create("alexnet", 64, 10, 0.0f, &model, &error), error);
	struct program_spec spec = harness_spec(&model, 8, model.layer_count, 4);
	struct memory_use plan = {0}, use = {0};
	plan = harness_plan_memory(harness, &spec);
	assert_int_equal(tuning_file_bytes(harness), 0);
	struct program *program = harness_program(harness, &spec);
	harness->ops->program_memory(program, &use);
	assert_memory_equal(&plan, &use, sizeof(plan));
#if defined(__x86_64__)
	if (__builtin_cpu_supports("x86-64-v3"))
		assert_true(tuning_file_bytes(harness) > 0);
#endif
	harness->ops->program_destroy(program);
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
static void train(const struct device_ops *ops, struct device *device, const struct model *model, struct outcome *ret)
{
	struct error error = {0};
	struct harness harness = {.ops = ops, .device = device};
	struct program_spec spec = harness_spec(model, 0, model->layer_count, N);
	spec.slots = spec.micro_batches = SLOTS;
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

// Makes the file say `name` for each question whose key has `operation` in it. Returns how many there are.
static uint32_t decide(const struct harness *harness, const char *operation, const char *name)
{
	char path[128], text[65536];
	snprintf(path, sizeof(path), "%s/tuning", harness->folder);
	FILE *file = fopen(path, "r+e");
	assert_non_null(file);
	size_t length = fread(text, 1, sizeof(text) - 1, file);
	assert_true(length < sizeof(text) - 1);
	text[length] = '\0';
	uint32_t count = 0;
	char *rest = NULL;
	for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		const char *time = strrchr(line, '\t');
		if (strstr(line, operation) == NULL || time == NULL || strcmp(time, "\t1") == 0)
			continue; // another question, or a line of this function's
		line[strcspn(line, "\t")] = '\0';
		fprintf(file, "%s\t%s\t1\n", line, name);
		count++;
	}
	fclose(file);
	return count;
}

// The same for every pass of every convolution: direct; and SGEMM for linear layers.
static void decide_first_candidates(const struct harness *harness, const struct model *model)
{
	static const char *const passes[] = {"forward", "backward-input", "backward-weight"};
	struct error error = {0};
	struct onednn *onednn = NULL;
	harness_check(onednn_create(&onednn, &error), error);
	for (uint32_t i = 0; i < model->layer_count; i++) {
		const struct layer *layer = &model->layers[i];
		if (layer->kind != LAYER_CONVOLUTION)
			continue;
		struct window_shape shape = {.n = N,
					     .channels = layer->in_channels,
					     .height = layer->input.height,
					     .width = layer->input.width,
					     .filters = layer->out_channels,
					     .kernel_size = layer->kernel_size,
					     .stride = layer->stride,
					     .padding = layer->padding,
					     .output_height = layer->output.height,
					     .output_width = layer->output.width};
		struct convolution_methods *methods = NULL;
		harness_check(convolution_methods_create(onednn, &shape, true, true, i > 0, &methods, &error), error);
		for (enum kernel_pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++) {
			char name[METHOD_NAME_SIZE], operation[96];
			if (!convolution_methods_have(methods, pass, METHOD_DIRECT))
				continue;
			convolution_methods_name(methods, pass, METHOD_DIRECT, name);
			snprintf(operation, sizeof(operation), "/convolution-%s/n=%d/in=%ux%ux%u/out=%u/", passes[pass],
				 N, layer->in_channels, layer->input.height, layer->input.width, layer->out_channels);
			decide(harness, operation, name);
		}
		convolution_methods_destroy(methods);
	}
	onednn_destroy(onednn);
	decide(harness, "/linear-", "sgemm");
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

// The file decides, not a timing of the program's own; and gradients in another layout reach the optimizer as they should.
static void program_allocate_uses_what_the_file_says(void **state)
{
	const struct device_ops *ops = cpu();
	struct model model;
	small_model(&model);
	// Where no file can be, nothing is timed: the first candidates.
	struct error error = {0};
	struct device_options options = {.name = "cpu", .threads = 1, .tuning_file = "/proc/penstock/tuning"};
	struct device *untimed = NULL;
	harness_check(ops->create(&options, &untimed, &error), error);
	struct outcome direct, timed, columns, again, first;
	train(ops, untimed, &model, &direct);
	struct harness *harness = harness_open(ops, 1);
	train(ops, harness->device, &model, &timed);
	decide_first_candidates(harness, &model);
	train(ops, harness->device, &model, &first);
	assert_memory_equal(direct.gradients, first.gradients, direct.count * sizeof(float));
	assert_int_equal(decide(harness, "/convolution-backward-weight/", "im2col/sgemm"),
			 3); // the fourth's images are large
	int64_t bytes = tuning_file_bytes(harness);
	train(ops, harness->device, &model, &columns);
	train(ops, harness->device, &model, &again);
	assert_int_equal(tuning_file_bytes(harness), bytes);
	assert_true(memcmp(direct.gradients, columns.gradients, direct.count * sizeof(float)) != 0);
	assert_memory_equal(columns.gradients, again.gradients, direct.count * sizeof(float));
	assert_memory_equal(columns.parameters, again.parameters, direct.count * sizeof(float));
	assert_close("gradients", direct.count, columns.gradients, direct.gradients, 2e-5);
	assert_close("parameters", direct.count, columns.parameters, direct.parameters, 2e-5);
	assert_close("gradients as timed", direct.count, timed.gradients, direct.gradients, 2e-5);
	// What is chosen changes no size.
	assert_memory_equal(&direct.memory, &columns.memory, sizeof(direct.memory));
	assert_memory_equal(&direct.memory, &timed.memory, sizeof(direct.memory));
	outcome_fini(&direct);
	outcome_fini(&timed);
	outcome_fini(&columns);
	outcome_fini(&again);
	outcome_fini(&first);
	ops->destroy(untimed);
	harness_close(harness);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(program_create_huge_layer_times_nothing),
		cmocka_unit_test(program_allocate_times_what_create_did_not),
		cmocka_unit_test(program_allocate_uses_what_the_file_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
