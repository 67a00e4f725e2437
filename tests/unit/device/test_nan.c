// NaN and infinity go through every operation, forward and backward, as in PyTorch: what diverged must reach the loss and the
// gradients' norm. The same cases for every device.
#include "tests/unit/device/suite.h"

#include <math.h>
#include <string.h>

#include "tests/unit/device/reference.h"
#include "tests/unit/device/rule.h"

static void widen(uint64_t count, const float *from, double *to)
{
	for (uint64_t i = 0; i < count; i++)
		to[i] = from[i];
}

// Where the reference has NaN the device has, and where it is finite the device is, but where a method of convolution (Winograd's
// tiles) mixes neighbours.
static void check_values(const char *what, uint64_t count, const float *values, const double *expected, bool mixes)
{
	for (uint64_t i = 0; i < count; i++) {
		bool bad = isnan(expected[i])   ? !isnan(values[i])
			   : isinf(expected[i]) ? isfinite(values[i])
						: !mixes && !isfinite(values[i]);
		if (bad)
			fail_msg("%s: element %llu of %llu is %g, expected %g", what, (unsigned long long)i,
				 (unsigned long long)count, values[i], expected[i]);
	}
}

static bool mixes_neighbours(const struct model *model, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++)
		if (model->layers[i].kind == LAYER_CONVOLUTION)
			return true;
	return false;
}

enum place { IN_INPUT, IN_OUTPUT_GRADIENT, IN_PARAMETERS };

struct poison {
	enum place place;
	uint32_t parameter; // of IN_PARAMETERS
	float value;
};

static void put(const struct poison *poison, enum place place, uint64_t count, float *values)
{
	if (poison->place == place)
		values[count / 3] = poison->value;
}

struct run {
	struct harness *harness;
	const struct model *model;
	uint32_t first, end, n;
	struct program_spec spec;
	struct program *program;
	struct reference reference;
	char name[96];
};

static void fill_parameters(struct run *run, const struct poison *poison)
{
	struct error error = {0};
	uint32_t end = model_first_parameter(run->model, run->end);
	for (uint32_t p = model_first_parameter(run->model, run->first); p < end; p++) {
		struct parameter parameter;
		model_parameter(run->model, p, &parameter);
		float *values = harness_filled(parameter.name, harness_scale(run->model, &parameter), parameter.count);
		if (poison->place == IN_PARAMETERS && poison->parameter == p)
			put(poison, IN_PARAMETERS, parameter.count, values);
		harness_check(run->harness->ops->write_parameter(run->program, p, values, &error), error);
		widen(parameter.count, values, run->reference.parameters[p]);
		free(values);
	}
}

static void check_gradients(struct run *run)
{
	const struct device_ops *ops = run->harness->ops;
	struct error error = {0};
	double squares[2 * MODEL_MAXIMUM_LAYERS];
	uint32_t begin = model_first_parameter(run->model, run->first),
		 end = model_first_parameter(run->model, run->end);
	harness_check(ops->gradient_squares(run->program, squares, &error), error);
	for (uint32_t p = begin; p < end; p++) {
		struct parameter parameter;
		model_parameter(run->model, p, &parameter);
		float *values = harness_floats(parameter.count);
		double sum = 0.0;
		char what[160];
		harness_check(ops->read_gradient(run->program, p, values, HARNESS_WAIT, &error), error);
		snprintf(what, sizeof(what), "%s, gradient of %s", run->name, parameter.name);
		check_values(what, parameter.count, values, run->reference.parameter_gradients[p], true);
		for (uint64_t i = 0; i < parameter.count; i++)
			sum += (double)values[i] * values[i];
		if (isfinite(squares[p - begin]) != isfinite(sum))
			fail_msg("%s: sum of squares %g, expected %g", what, squares[p - begin], sum);
		free(values);
	}
}

static void check_run(struct harness *harness, const struct model *model, uint32_t first, uint32_t end,
		      struct poison poison)
{
	static const char *const places[] = {"input", "output gradient", "parameter"};
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct run run = {.harness = harness, .model = model, .first = first, .end = end, .n = 2};
	snprintf(run.name, sizeof(run.name), "layers [%u, %u) with %g in %s", first, end, poison.value,
		 places[poison.place]);
	run.spec = harness_spec(model, first, end, run.n);
	run.program = harness_program(harness, &run.spec);
	reference_init(&run.reference, model, first, end, run.n);
	fill_parameters(&run, &poison);
	uint64_t in = reference_values_count(&run.reference, 0);
	uint64_t out = reference_values_count(&run.reference, end - first);
	float *input = harness_filled("input", 1.0f, in), *gradient = harness_filled("output gradient", 1.0f, out);
	float *output = harness_floats(out), *input_gradient = harness_floats(in);
	bool mixes = mixes_neighbours(model, first, end);
	char what[128];
	put(&poison, IN_INPUT, in, input);
	put(&poison, IN_OUTPUT_GRADIENT, out, gradient);
	widen(in, input, run.reference.values[0]);
	widen(out, gradient, run.reference.gradients[end - first]);
	reference_forward(&run.reference);
	reference_backward(&run.reference);
	harness_check(ops->write_input(run.program, 0, input, HARNESS_WAIT, &error), error);
	harness_forward(harness, run.program, &run.spec, 0, 0);
	harness_check(ops->read_output(run.program, 0, output, HARNESS_WAIT, &error), error);
	snprintf(what, sizeof(what), "%s, output", run.name);
	check_values(what, out, output, run.reference.values[end - first], mixes);
	harness_check(ops->zero_gradients(run.program, &error), error);
	harness_check(ops->write_output_gradient(run.program, gradient, HARNESS_WAIT, &error), error);
	harness_backward(harness, run.program, &run.spec, 0);
	if (first > 0) {
		harness_check(ops->read_input_gradient(run.program, input_gradient, HARNESS_WAIT, &error), error);
		snprintf(what, sizeof(what), "%s, input gradient", run.name);
		check_values(what, in, input_gradient, run.reference.gradients[0], mixes);
	}
	check_gradients(&run);
	free(input);
	free(gradient);
	free(output);
	free(input_gradient);
	reference_fini(&run.reference);
	ops->program_destroy(run.program);
}

static void check_places(struct harness *harness, const struct model *model, uint32_t first, uint32_t end, float value)
{
	check_run(harness, model, first, end, (struct poison){.place = IN_INPUT, .value = value});
	check_run(harness, model, first, end, (struct poison){.place = IN_OUTPUT_GRADIENT, .value = value});
	for (uint32_t p = model_first_parameter(model, first); p < model_first_parameter(model, end); p++)
		check_run(harness, model, first, end,
			  (struct poison){.place = IN_PARAMETERS, .parameter = p, .value = value});
}

// The channels of the second pool fill no vector.
static void add_pool(struct model *model)
{
	struct error error = {0};
	model->layer_count = 8;
	model->layers[6] = (struct layer){.kind = LAYER_RELU, .name = "layer.6"};
	model->layers[5] = (struct layer){.kind = LAYER_MAX_POOL, .name = "layer.5", .kernel_size = 3, .stride = 2};
	model->layers[7] = (struct layer){.kind = LAYER_ADAPTIVE_AVERAGE_POOL, .name = "layer.7", .output_size = 3};
	harness_check(model_infer_shapes(model, &error), error);
}

static void each_layer_keeps_what_is_not_finite(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	harness_small_model(0.0f, &model);
	for (uint32_t layer = 0; layer < model.layer_count; layer++) {
		check_places(harness, &model, layer, layer + 1, NAN);
		check_places(harness, &model, layer, layer + 1, INFINITY);
		check_places(harness, &model, layer, layer + 1, -INFINITY);
	}
	add_pool(&model);
	check_places(harness, &model, 5, 6, NAN);
	check_places(harness, &model, 5, 6, -INFINITY);
	check_places(harness, &model, 3, 6, NAN);
	harness_close(harness);
}

// A ReLU alone, with the layer before it, and with the max pool behind it; with the adaptive pool and the dropout's identity.
static void runs_of_layers_keep_nan(void **state)
{
	struct harness *harness = harness_open(*state, 2);
	struct model model;
	harness_small_model(0.0f, &model);
	static const uint32_t runs[][2] = {{0, 2}, {0, 3}, {1, 3}, {3, 5}, {7, 10}, {9, 12}, {11, 15}, {13, 15}};
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++)
		check_places(harness, &model, runs[i][0], runs[i][1], NAN);
	harness_close(harness);
}

// One NaN in any parameter of a whole network is in the loss.
static void loss_of_nan_in_any_parameter_is_nan(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	uint8_t images[2 * 3 * 32 * 32], labels[2];
	rule_fill_bytes("images", sizeof(images), images);
	rule_fill_labels("labels", 2, 10, labels);
	for (uint32_t interval = 0; interval <= 2; interval += 2) {
		struct program_spec spec = harness_spec(&model, 0, model.layer_count, 2);
		spec.checkpoint_interval = interval;
		struct program *program = harness_program(harness, &spec);
		harness_check(ops->load_labels(program, 0, labels, HARNESS_WAIT, &error), error);
		for (uint32_t p = 0; p < model_parameter_count(&model); p++) {
			struct parameter parameter;
			float loss = 0.0f;
			uint32_t correct = 0;
			double squares[2 * MODEL_MAXIMUM_LAYERS];
			model_parameter(&model, p, &parameter);
			float *values =
				harness_filled(parameter.name, harness_scale(&model, &parameter), parameter.count);
			float kept = values[0];
			values[0] = NAN;
			harness_check(ops->write_parameter(program, p, values, &error), error);
			harness_check(ops->load_images(program, 0, images, HARNESS_WAIT, &error), error);
			harness_forward(harness, program, &spec, 0, 0);
			harness_loss(ops, program, 0, 0, &loss, &correct);
			harness_check(ops->zero_gradients(program, &error), error);
			harness_check(ops->loss_backward(program, 0, 1.0f, &error), error);
			harness_backward(harness, program, &spec, 0);
			harness_check(ops->gradient_squares(program, squares, &error), error);
			if (!isnan(loss))
				fail_msg("NaN in %s: loss %g", parameter.name, loss);
			for (uint32_t q = 0; q < model_parameter_count(&model); q++)
				if (!isnan(squares[q]))
					fail_msg("NaN in %s: the squares of gradient %u are %g", parameter.name, q,
						 squares[q]);
			values[0] = kept;
			harness_check(ops->write_parameter(program, p, values, &error), error);
			free(values);
		}
		ops->program_destroy(program);
	}
	harness_close(harness);
}

enum { DROPOUT_LAYER = 12, DROPPED = 2 * 800 }; // its elements in a micro-batch of 2

// PyTorch multiplies by a mask of zeros and ones, so what is dropped of NaN and of infinity is NaN.
static void dropout_keeps_nan_also_where_it_drops(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, DROPOUT_LAYER, DROPOUT_LAYER + 1, 2);
	struct program *program = harness_program(harness, &spec);
	float *values = harness_filled("input", 1.0f, DROPPED);
	float *gradients = harness_filled("gradient", 1.0f, DROPPED);
	for (uint64_t i = 0; i < DROPPED; i++) {
		values[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : values[i];
		gradients[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? -INFINITY : gradients[i];
	}
	harness_check(ops->write_input(program, 0, values, HARNESS_WAIT, &error), error);
	harness_forward(harness, program, &spec, 0, 0);
	harness_check(ops->read_output(program, 0, values, HARNESS_WAIT, &error), error);
	harness_check(ops->write_output_gradient(program, gradients, HARNESS_WAIT, &error), error);
	harness_backward(harness, program, &spec, 0);
	harness_check(ops->read_input_gradient(program, gradients, HARNESS_WAIT, &error), error);
	uint32_t dropped = 0;
	for (uint64_t i = 0; i < DROPPED; i++) {
		dropped += i % 3 == 1 && isnan(values[i]);
		assert_true(i % 3 == 2 ? isfinite(values[i]) : !isfinite(values[i]));
		assert_true(i % 3 == 2 ? isfinite(gradients[i]) : !isfinite(gradients[i]));
		assert_true(i % 3 != 0 || (isnan(values[i]) && isnan(gradients[i])));
		assert_true(i % 3 != 1 || isnan(values[i]) == isnan(gradients[i]));
	}
	assert_true(dropped > 200 && dropped < 333); // of 533, a half
	free(values);
	free(gradients);
	ops->program_destroy(program);
	harness_close(harness);
}

static void boundaries_of_every_type_keep_what_is_not_finite(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	enum { RELU = 4, N = 2 };
	uint64_t count = N * shape_count(model.layers[RELU].input);
	for (int type = 0; type < DATA_TYPE_COUNT; type++) {
		struct program_spec spec = harness_spec(&model, RELU, RELU + 1, N);
		spec.boundary_type = (enum data_type)type;
		struct program *program = harness_program(harness, &spec);
		float *values = harness_filled("input", 1.0f, count),
		      *gradients = harness_filled("gradient", 1.0f, count);
		void *narrow = harness_floats(count);
		values[1] = gradients[1] = NAN;
		values[2] = gradients[3] = INFINITY;
		values[3] = 1.0f;
		data_type_narrow((enum data_type)type, count, values, narrow);
		harness_check(ops->write_input(program, 0, narrow, HARNESS_WAIT, &error), error);
		harness_forward(harness, program, &spec, 0, 0);
		harness_check(ops->read_output(program, 0, narrow, HARNESS_WAIT, &error), error);
		data_type_widen((enum data_type)type, count, narrow, values);
		assert_true(isnan(values[1]) && values[2] == INFINITY && isfinite(values[0]));
		data_type_narrow((enum data_type)type, count, gradients, narrow);
		harness_check(ops->write_output_gradient(program, narrow, HARNESS_WAIT, &error), error);
		harness_backward(harness, program, &spec, 0);
		harness_check(ops->read_input_gradient(program, narrow, HARNESS_WAIT, &error), error);
		data_type_widen((enum data_type)type, count, narrow, gradients);
		assert_true(isnan(gradients[1]) && gradients[3] == INFINITY && isfinite(gradients[0]));
		free(values);
		free(gradients);
		free(narrow);
		ops->program_destroy(program);
	}
	harness_close(harness);
}

// A gradient of NaN makes its own value NaN, a value of NaN stays so, and others stay finite: but of Lamb, whose rate is a tensor's.
static void optimizer_step_keeps_what_is_not_finite(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	enum { LINEAR = 16 };
	uint32_t weight = model_first_parameter(&model, LINEAR);
	struct parameter parameter;
	model_parameter(&model, weight, &parameter);
	for (uint32_t kind = 0; kind < OPTIMIZER_COUNT; kind++) {
		struct program_spec spec = harness_spec(&model, LINEAR, LINEAR + 1, 2);
		optimizer_defaults((enum optimizer_kind)kind, &spec.optimizer);
		struct program *program = harness_program(harness, &spec);
		float *gradient = harness_filled("gradient", 1.0f, parameter.count);
		float *values = harness_filled(parameter.name, 1.0f, parameter.count);
		gradient[5] = NAN;
		values[7] = NAN;
		harness_check(ops->write_parameter(program, weight, values, &error), error);
		struct optimizer_step step = {
			.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .gradient_scale = 1.0f};
		for (step.step = 0; step.step < 2; step.step++) {
			harness_check(ops->write_gradient(program, weight, gradient, HARNESS_WAIT, &error), error);
			harness_check(ops->optimizer_step(program, &step, &error), error);
		}
		harness_check(ops->read_parameter(program, weight, values, &error), error);
		const char *name = optimizer_name((enum optimizer_kind)kind);
		if (!isnan(values[5]) || !isnan(values[7]))
			fail_msg("%s: %g, %g", name, values[5], values[7]);
		for (uint64_t i = 0; i < parameter.count; i++)
			if (i != 5 && i != 7 && kind != OPTIMIZER_LAMB && !isfinite(values[i]))
				fail_msg("%s: value %llu is %g", name, (unsigned long long)i, values[i]);
		free(gradient);
		free(values);
		ops->program_destroy(program);
	}
	harness_close(harness);
}

static const struct suite_case cases[] = {
	SUITE_CASE(each_layer_keeps_what_is_not_finite),
	SUITE_CASE(runs_of_layers_keep_nan),
	SUITE_CASE(loss_of_nan_in_any_parameter_is_nan),
	SUITE_CASE(dropout_keeps_nan_also_where_it_drops),
	SUITE_CASE(boundaries_of_every_type_keep_what_is_not_finite),
	SUITE_CASE(optimizer_step_keeps_what_is_not_finite),
};

int main(void)
{
	return suite_run("what is not finite", cases, sizeof(cases) / sizeof(cases[0]));
}
