// Steps of the optimizers: DeepSpeed's own, the same bits wherever the parameters are, and the memory that they need. test_operations.c
// compares each optimizer with the plain reference.
#include "tests/unit/device/suite.h"

#include <string.h>

#include "tests/unit/device/optimizer_tables.h"

static void widen(uint64_t count, const float *from, double *to)
{
	for (uint64_t i = 0; i < count; i++)
		to[i] = from[i];
}

// DeepSpeed's steps, of a weight whose values and gradients are the tables'.
static void optimizer_steps_equal_deepspeeds_tables(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model = {.name = "one", .image_size = 1, .classes = 8, .layer_count = 2};
	model.layers[0] = (struct layer){.kind = LAYER_FLATTEN, .name = "flatten"};
	model.layers[1] = (struct layer){.kind = LAYER_LINEAR, .name = "linear", .in_channels = 3, .out_channels = 8};
	harness_check(model_infer_shapes(&model, &error), error);
	for (size_t i = 0; i < sizeof(optimizer_tables) / sizeof(optimizer_tables[0]); i++) {
		struct program_spec spec = harness_spec(&model, 1, 2, 1);
		spec.optimizer = optimizer_tables[i].optimizer;
		struct program *program = harness_program(harness, &spec);
		harness_check(ops->write_parameter(program, 0, optimizer_tables[i].values[0], &error), error);
		for (uint32_t step = 0; step < OPTIMIZER_TABLE_STEPS; step++) {
			struct optimizer_step settings = {.step = step,
							  .learning_rate = optimizer_table_rates[step],
							  .beta1 = optimizer_tables[i].beta1,
							  .beta2 = optimizer_tables[i].beta2,
							  .gradient_scale = 1.0f};
			float values[OPTIMIZER_TABLE_COUNT];
			double expected[OPTIMIZER_TABLE_COUNT];
			harness_check(
				ops->write_gradient(program, 0, optimizer_table_gradients[step], HARNESS_WAIT, &error),
				error);
			harness_check(ops->optimizer_step(program, &settings, &error), error);
			harness_check(ops->read_parameter(program, 0, values, &error), error);
			widen(OPTIMIZER_TABLE_COUNT, optimizer_tables[i].values[step + 1], expected);
			harness_assert_close(optimizer_tables[i].name, OPTIMIZER_TABLE_COUNT, values, expected, 1e-6);
		}
		ops->program_destroy(program);
	}
	harness_close(harness);
}

// Another number of threads, and another cut, change no bit.
static void optimizer_steps_do_not_depend_on_cut_and_threads(void **state)
{
	struct model model;
	harness_small_model(0.0f, &model);
	static const uint32_t runs[][3] = {{1, 3, 4}, {3, 3, 6}, {2, 0, 8}}; // threads, layers
	enum { LAYER = 3 };
	uint32_t weight = model_first_parameter(&model, LAYER);
	struct parameter parameter;
	model_parameter(&model, weight, &parameter);
	float *gradient = harness_filled("gradient", 1.0f, parameter.count);
	for (uint32_t kind = 0; kind < OPTIMIZER_COUNT; kind++) {
		float *values[3];
		for (int r = 0; r < 3; r++) {
			struct harness *harness = harness_open(*state, runs[r][0]);
			const struct device_ops *ops = harness->ops;
			struct error error = {0};
			struct program_spec spec = harness_spec(&model, runs[r][1], runs[r][2], 2);
			optimizer_defaults((enum optimizer_kind)kind, &spec.optimizer);
			spec.optimizer.weight_decay = 0.1f;
			struct program *program = harness_program(harness, &spec);
			struct optimizer_step step = {
				.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .gradient_scale = 0.5f};
			values[r] = harness_floats(parameter.count);
			for (step.step = 0; step.step < 2; step.step++) {
				harness_check(ops->write_gradient(program, weight, gradient, HARNESS_WAIT, &error),
					      error);
				harness_check(ops->optimizer_step(program, &step, &error), error);
			}
			harness_check(ops->read_parameter(program, weight, values[r], &error), error);
			if (memcmp(values[r], values[0], parameter.count * sizeof(float)) != 0)
				fail_msg("%s: %u threads and layers [%u, %u) give other bits",
					 optimizer_name((enum optimizer_kind)kind), runs[r][0], runs[r][1], runs[r][2]);
			ops->program_destroy(program);
			harness_close(harness);
		}
		for (int r = 0; r < 3; r++)
			free(values[r]);
	}
	free(gradient);
}

// SGD whose plan keeps no buffer for a momentum takes no memory for one, gives the same bits, and refuses a momentum.
static void sgd_without_momentum_keeps_no_state(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	float *values[2];
	uint32_t weight = model_first_parameter(&model, 3);
	struct parameter parameter;
	model_parameter(&model, weight, &parameter);
	float *gradient = harness_filled("gradient", 1.0f, parameter.count);
	for (int without = 0; without < 2; without++) {
		struct program_spec spec = harness_spec(&model, 3, 6, 2);
		spec.optimizer = (struct optimizer){.weight_decay = 0.1f, .no_momentum = without == 1};
		uint64_t bytes = harness_plan_memory(harness, &spec).optimizer_bytes;
		assert_true(without == 1 ? bytes == 0 : bytes >= parameter.count * sizeof(float));
		struct program *program = harness_program(harness, &spec);
		struct optimizer_step step = {.learning_rate = 0.1f, .gradient_scale = 1.0f};
		values[without] = harness_floats(parameter.count);
		harness_check(ops->write_gradient(program, weight, gradient, HARNESS_WAIT, &error), error);
		harness_check(ops->optimizer_step(program, &step, &error), error);
		harness_check(ops->read_parameter(program, weight, values[without], &error), error);
		step.beta1 = 0.9f;
		assert_int_equal(ops->optimizer_step(program, &step, &error), without == 0);
		ops->program_destroy(program);
	}
	assert_int_equal(error.code, ERROR_USAGE);
	assert_memory_equal(values[0], values[1], parameter.count * sizeof(float));
	free(values[0]);
	free(values[1]);
	free(gradient);
	harness_close(harness);
}

static const struct suite_case cases[] = {
	SUITE_CASE(optimizer_steps_equal_deepspeeds_tables),
	SUITE_CASE(optimizer_steps_do_not_depend_on_cut_and_threads),
	SUITE_CASE(sgd_without_momentum_keeps_no_state),
};

int main(void)
{
	return suite_run("optimizers", cases, sizeof(cases) / sizeof(cases[0]));
}
