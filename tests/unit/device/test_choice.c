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

#include "tests/unit/device/harness.h"

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
static void program_plan_memory_huge_layer_times_nothing(void **state)
{
	struct harness *harness = harness_open(cpu(), 1);
	struct error error = {0};
	struct model model;
	linear_model(65536, 65536, &model);
	struct program_spec spec = harness_spec(&model, model.layer_count - 1, model.layer_count, 65536);
	struct memory_use use = {0};
	harness_check(harness->ops->program_plan_memory(harness->device, &spec, &use, &error), error);
	assert_in_range(memory_use_total(&use), 64ull << 30, 256ull << 30);
	assert_int_equal(tuning_file_bytes(harness), 0);
	harness_close(harness);
}

static void program_create_times_what_planning_did_not(void **state)
{
	struct harness *harness = harness_open(cpu(), 1);
	struct error error = {0};
	struct model model;
	harness_check(model_create("alexnet", 64, 10, 0.0f, &model, &error), error);
	struct program_spec spec = harness_spec(&model, 8, model.layer_count, 4);
	struct memory_use plan = {0}, use = {0};
	harness_check(harness->ops->program_plan_memory(harness->device, &spec, &plan, &error), error);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(program_plan_memory_huge_layer_times_nothing),
		cmocka_unit_test(program_create_times_what_planning_did_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
