// What is the CUDA device's own, on the stand-in for CUDA: nothing allocated in a step, the same bits by other ways, 16-bit types,
// completions that come on another thread.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

#include "tests/cuda_stand_in/stand_in.h"
#include "tests/unit/device/cuda/small_job.h"
#include "tests/unit/device/rule.h"

static const struct device_ops *const ops = &cuda_device_ops;

static uint64_t parameter_count(const struct job *job)
{
	uint64_t count = 0;
	for (uint32_t l = 0; l < job->model.layer_count; l++)
		count += layer_parameter_count(&job->model.layers[l]);
	return count;
}

// Of all parameters, owned.
static float *parameters(struct job *job)
{
	struct error error = {0};
	float *values = harness_floats(parameter_count(job)), *next = values;
	for (uint32_t p = 0; p < model_parameter_count(&job->model); p++) {
		struct parameter parameter;
		model_parameter(&job->model, p, &parameter);
		harness_check(ops->read_parameter(job->program, p, next, &error), error);
		next += parameter.count;
	}
	return values;
}

// Nor is any code loaded in one, the first step included, though no kernel was timed.
static void steps_allocate_nothing(void **state)
{
	struct harness *harness = harness_open(ops, 1);
	job_close(job_open(harness, DATA_BFLOAT16, 3));
	forget_what_is_loaded();
	struct job *job = job_open_replica(harness, DATA_BFLOAT16, 3);
	struct error error = {0};
	unsigned long before = stand_in_allocations();
	for (int i = 0; i < 2; i++)
		harness_check(job_step(job, &error), error);
	assert_int_equal(stand_in_allocations(), before);
	uint64_t ns = 0;
	harness_check(ops->elapsed(job->program, 0, 1, &ns, &error), error);
	assert_true(ns > 0);
	assert_false(ops->elapsed(job->program, 0, 2, &ns, &error));
	job_close(job);
	harness_close(harness);
}

// One with a neighbour on each side, and an optimizer with more state.
static void steps_of_a_middle_stage_allocate_nothing(void **state)
{
	forget_what_is_loaded();
	struct harness *harness = harness_open(ops, 1);
	struct model model;
	struct error error = {0};
	struct device_completion wait = {0};
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, 3, 7, N);
	spec.compute_type = DATA_FLOAT16;
	spec.boundary_type = DATA_FLOAT32;
	spec.optimizer.kind = OPTIMIZER_ADAMW;
	uint64_t in = N * shape_count(model.layers[3].input), out = N * shape_count(model.layers[6].output);
	float *input = harness_filled("input", 1.0f, in), *output = harness_filled("output", 1.0f, out);
	struct program *program = harness_program(harness, &spec);
	unsigned long before = stand_in_allocations();
	for (uint32_t i = 0; i < 2; i++) {
		struct optimizer_step settings = {
			.step = i, .learning_rate = 0.05f, .beta1 = 0.9f, .beta2 = 0.999f, .gradient_scale = 1.0f};
		harness_check(ops->write_input(program, 0, input, wait, &error), error);
		for (uint32_t l = 3; l < 7; l++)
			harness_check(ops->forward(program, 0, l, 0, &error), error);
		harness_check(ops->read_output(program, 0, output, wait, &error), error);
		harness_check(ops->write_output_gradient(program, output, wait, &error), error);
		for (uint32_t l = 7; l-- > 3;) {
			harness_check(ops->backward_weight(program, 0, l, &error), error);
			harness_check(ops->backward_input(program, 0, l, &error), error);
		}
		harness_check(ops->read_input_gradient(program, input, wait, &error), error);
		harness_check(ops->optimizer_step(program, &settings, &error), error);
		harness_check(ops->zero_gradients(program, &error), error);
	}
	assert_int_equal(stand_in_allocations(), before);
	ops->program_destroy(program);
	free(input);
	free(output);
	harness_close(harness);
}

static void steps_any_checkpoint_interval_in_bfloat16_gives_the_same_bits(void **state)
{
	struct harness *harness = harness_open(ops, 1);
	static const uint32_t intervals[] = {0, 1, 2, 3, 4, 5, 7, 16, 100}; // of 17 layers
	float *expected = NULL;
	for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
		struct job *job = job_open(harness, DATA_BFLOAT16, intervals[i]);
		struct error error = {0};
		harness_check(job_step(job, &error), error);
		float *values = parameters(job);
		if (expected == NULL)
			expected = values;
		assert_memory_equal(values, expected, parameter_count(job) * sizeof(float));
		if (values != expected)
			free(values);
		job_close(job);
	}
	free(expected);
	harness_close(harness);
}

// Of replicas or not: gradients that go out and in again are what they were.
static void steps_of_replicas_give_the_same_bits(void **state)
{
	struct harness *harness = harness_open(ops, 1); // one for both: kernels chosen by their time are the same ones
	struct job *alone = job_open(harness, DATA_FLOAT16, 0), *replica = job_open_replica(harness, DATA_FLOAT16, 0);
	struct error error = {0};
	for (int i = 0; i < 3; i++) {
		harness_check(job_step(alone, &error), error);
		harness_check(job_step(replica, &error), error);
	}
	float *expected = parameters(alone), *values = parameters(replica);
	assert_memory_equal(values, expected, parameter_count(alone) * sizeof(float));
	free(expected);
	free(values);
	job_close(alone);
	job_close(replica);
	harness_close(harness);
}

// Only the workspace is larger: by a buffer each way for the largest convolution's gradient.
static void program_memory_of_replicas_has_two_buffers_more(void **state)
{
	struct harness *harness = harness_open(ops, 1);
	struct model model;
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, N);
	struct memory_use alone = harness_plan_memory(harness, &spec), replica;
	spec.replicas = true;
	replica = harness_plan_memory(harness, &spec);
	assert_int_equal(replica.workspace_bytes, alone.workspace_bytes + 2ull * 32 * 32 * 3 * 3 * sizeof(float));
	replica.workspace_bytes = alone.workspace_bytes;
	assert_memory_equal(&replica, &alone, sizeof(alone));
	spec.training = false;
	replica = harness_plan_memory(harness, &spec);
	spec.replicas = false;
	alone = harness_plan_memory(harness, &spec);
	assert_memory_equal(&replica, &alone, sizeof(alone));
	harness_close(harness);
}

// While a copy of the parameter's gradient stands still, in its stream: a linear layer's, a convolution's.
static void check_work_goes_on(struct job *job, uint32_t index)
{
	struct error error = {0};
	struct parameter parameter;
	float losses[MICRO_BATCHES];
	uint32_t correct[MICRO_BATCHES];
	double squares[MOST_PARAMETERS], sum = 0.0;
	model_parameter(&job->model, index, &parameter);
	harness_check(ops->zero_gradients(job->program, &error), error);
	harness_check(job_forward(job, 0, &error), error);
	job_wait_for_calls(job);
	int before = job->calls.good;
	// Out: the rest of the backward pass.
	stand_in_hold_copies(job->gradients[index], parameter.count * sizeof(float));
	harness_check(ops->loss_backward(job->program, 0, 1.0f, &error), error);
	for (uint32_t l = job->model.layer_count; l-- > 0;) {
		harness_check(ops->backward_weight(job->program, 0, l, &error), error);
		if (l == parameter.layer)
			harness_check(job_read_gradients(job, l, &error), error);
		harness_check(ops->backward_input(job->program, 0, l, &error), error);
	}
	harness_check(ops->read_losses(job->program, 1, losses, correct, &error), error); // waits for compute
	assert_int_equal(job->calls.good, before);
	stand_in_hold_copies(NULL, 0);
	job_wait_for_calls(job);
	assert_int_equal(job->calls.good, before + 2);
	// In: another forward pass; who needs the gradient waits for it.
	for (uint64_t i = 0; i < parameter.count; i++) {
		job->gradients[index][i] = (float)(i % 7) - 3.0f;
		sum += (double)job->gradients[index][i] * job->gradients[index][i];
	}
	stand_in_hold_copies(job->gradients[index], parameter.count * sizeof(float));
	struct device_completion completion = {job_count_call, &job->calls};
	assert_true(
		job_issued(job, ops->write_gradient(job->program, index, job->gradients[index], completion, &error)));
	for (uint32_t l = 0; l < job->model.layer_count; l++)
		harness_check(ops->forward(job->program, 0, l, 0, &error), error);
	harness_check(ops->loss(job->program, 0, 0, &error), error);
	harness_check(ops->read_losses(job->program, 1, losses, correct, &error), error);
	assert_int_equal(job->calls.good, before + 2);
	stand_in_hold_copies(NULL, 0);
	harness_check(ops->gradient_squares(job->program, squares, &error), error);
	assert_true(squares[index] == sum);
	job_wait_for_calls(job);
}

static void gradients_on_their_way_let_other_work_go_on(void **state)
{
	struct job *job = job_open_replica(NULL, DATA_BFLOAT16, 0);
	check_work_goes_on(job, model_parameter_count(&job->model) - 2); // the last layer's weight
	check_work_goes_on(job, 4);                                      // a convolution's
	job_close(job);
}

// Padded images and weights, 16-bit copies and gradients: close to float32, and not the same.
static void steps_other_types_stay_close_to_float32(void **state)
{
	struct job *plain = job_open(NULL, DATA_FLOAT32, 0);
	struct error error = {0};
	harness_check(job_step(plain, &error), error);
	float losses[MICRO_BATCHES], *expected = parameters(plain);
	uint32_t correct[MICRO_BATCHES];
	harness_check(ops->read_losses(plain->program, MICRO_BATCHES, losses, correct, &error), error);
	for (enum data_type type = DATA_FLOAT32; type < DATA_TYPE_COUNT; type++) { // the first as TF32
		struct job *job = job_open(NULL, type, 0);
		ops->program_destroy(job->program);
		job->spec.allow_tf32 = true;
		job->program = harness_program(job->harness, &job->spec);
		harness_check(job_step(job, &error), error);
		float other[MICRO_BATCHES], *values = parameters(job);
		harness_check(ops->read_losses(job->program, MICRO_BATCHES, other, correct, &error), error);
		double wanted[MICRO_BATCHES];
		for (int i = 0; i < MICRO_BATCHES; i++)
			wanted[i] = losses[i];
		harness_assert_close("losses", MICRO_BATCHES, other, wanted, type == DATA_BFLOAT16 ? 3e-2 : 5e-3);
		double largest = 0.0;
		for (uint64_t i = 0; i < parameter_count(job); i++) {
			double difference = (double)values[i] - expected[i];
			largest = difference > largest ? difference : -difference > largest ? -difference : largest;
		}
		assert_true(largest < 2e-2);
		assert_true(type == DATA_FLOAT32 || largest > 0.0);
		free(values);
		job_close(job);
	}
	free(expected);
	job_close(plain);
}

// Images as floats, which no stage gets: a sample at a time through small buffers, and padded.
static void write_input_of_the_first_stage_is_padded(void **state)
{
	struct harness *harness = harness_open(ops, 1);
	struct model model;
	struct error error = {0};
	harness_small_model(0.0f, &model);
	uint64_t in = N * shape_count(model.layers[0].input), out = N * shape_count(model.layers[0].output);
	float *input = harness_filled("input", 1.0f, in), *outputs[2] = {harness_floats(out), harness_floats(out)};
	for (int i = 0; i < 2; i++) {
		struct program_spec spec = harness_spec(&model, 0, 1, N);
		spec.raw_image_size = 8;
		spec.compute_type = i == 0 ? DATA_FLOAT32 : DATA_FLOAT16;
		struct program *program = harness_program(harness, &spec);
		struct device_completion wait = {0};
		harness_check(ops->write_input(program, 0, input, wait, &error), error);
		harness_check(ops->forward(program, 0, 0, 0, &error), error);
		harness_check(ops->read_output(program, 0, outputs[i], wait, &error), error);
		ops->program_destroy(program);
	}
	double *expected = calloc(out, sizeof(*expected));
	assert_non_null(expected);
	for (uint64_t i = 0; i < out; i++)
		expected[i] = outputs[0][i];
	harness_assert_close("output in float16", out, outputs[1], expected, 5e-3);
	free(expected);
	free(input);
	free(outputs[0]);
	free(outputs[1]);
	harness_close(harness);
}

// Forward and backward of layers [first, end) in one program, or with one for each layer; what came of it, one after the other, owned:
// output, input gradient, gradients of the parameters.
static float *pass_layers(struct harness *harness, const struct model *model, enum data_type type, uint32_t first,
			  uint32_t end, bool in_one, uint64_t *ret_count)
{
	enum { MOST_LAYERS = 4 };
	struct program *programs[MOST_LAYERS];
	struct program_spec specs[MOST_LAYERS];
	struct error error = {0};
	uint32_t count = in_one ? 1 : end - first;
	uint64_t in = N * shape_count(model->layers[first].input), out = N * shape_count(model->layers[end - 1].output);
	uint64_t largest = in;
	assert_true(count <= MOST_LAYERS);
	for (uint32_t l = first; l < end; l++)
		if (N * shape_count(model->layers[l].output) > largest)
			largest = N * shape_count(model->layers[l].output);
	*ret_count = out + in;
	for (uint32_t l = first; l < end; l++)
		*ret_count += layer_parameter_count(&model->layers[l]);
	float *results = harness_floats(*ret_count), *next = results, *between = harness_floats(largest);
	rule_fill("input", 1.0f, in, between);
	for (uint32_t i = 0; i < count; i++) {
		specs[i] = harness_spec(model, first + i, in_one ? end : first + i + 1, N);
		specs[i].compute_type = type;
		programs[i] = harness_program(harness, &specs[i]);
		harness_check(ops->zero_gradients(programs[i], &error), error);
		harness_check(ops->write_input(programs[i], 0, between, HARNESS_WAIT, &error), error);
		harness_forward(harness, programs[i], &specs[i], 0, 0);
		harness_check(ops->read_output(programs[i], 0, between, HARNESS_WAIT, &error), error);
	}
	memcpy(next, between, out * sizeof(float));
	next += out;
	rule_fill("gradient", 1.0f, out, between);
	for (uint32_t i = count; i-- > 0;) {
		harness_check(ops->write_output_gradient(programs[i], between, HARNESS_WAIT, &error), error);
		harness_backward(harness, programs[i], &specs[i], 0);
		harness_check(ops->read_input_gradient(programs[i], between, HARNESS_WAIT, &error), error);
	}
	memcpy(next, between, in * sizeof(float));
	next += in;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t end_parameter = model_first_parameter(model, specs[i].end_layer);
		for (uint32_t p = model_first_parameter(model, specs[i].first_layer); p < end_parameter; p++) {
			struct parameter parameter;
			model_parameter(model, p, &parameter);
			harness_check(ops->read_gradient(programs[i], p, next, HARNESS_WAIT, &error), error);
			next += parameter.count;
		}
		ops->program_destroy(programs[i]);
	}
	free(between);
	return results;
}

// In one program a ReLU's backward pass is done by the pool behind it, or with the bias's gradient of the layer before it.
static void backward_of_relu_with_its_neighbours_gives_the_same_bits(void **state)
{
	struct harness *harness = harness_open(ops, 1);
	struct model model;
	harness_small_model(0.5f, &model);
	static const uint32_t runs[][2] = {{3, 5}, {3, 6}, {7, 10}, {8, 10}, {7, 9}, {13, 15}, {13, 17}};
	for (enum data_type type = DATA_FLOAT32; type < DATA_TYPE_COUNT; type++)
		for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
			uint64_t count;
			float *one = pass_layers(harness, &model, type, runs[i][0], runs[i][1], true, &count);
			float *each = pass_layers(harness, &model, type, runs[i][0], runs[i][1], false, &count);
			if (memcmp(one, each, count * sizeof(float)) != 0)
				fail_msg("layers [%u, %u) in %s differ", runs[i][0], runs[i][1], data_type_name(type));
			free(one);
			free(each);
		}
	harness_close(harness);
}

// What that is for: of a whole program no ReLU's backward pass reads and writes the gradient by itself, with checkpoints neither.
static void backward_of_relu_is_no_pass_of_its_own(void **state)
{
	static const uint32_t intervals[] = {0, 1, 2, 3};
	for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
		struct job *job = job_open(NULL, DATA_BFLOAT16, intervals[i]);
		struct error error = {0};
		harness_check(job_forward(job, 0, &error), error);
		harness_check(ops->loss_backward(job->program, 0, 1.0f, &error), error);
		for (uint32_t l = job->model.layer_count; l-- > 0;) {
			unsigned long before = stand_in_operations();
			harness_check(ops->backward_weight(job->program, 0, l, &error), error);
			harness_check(ops->backward_input(job->program, 0, l, &error), error);
			if (job->model.layers[l].kind == LAYER_RELU)
				assert_int_equal(stand_in_operations(), before);
			if (job->model.layers[l].kind == LAYER_CONVOLUTION)
				assert_true(stand_in_operations() > before);
		}
		job_close(job);
	}
}

static void bfloat16_on_an_old_gpu_is_refused(void **state)
{
	setenv("PENSTOCK_STAND_IN_CAPABILITY", "75", 1);
	struct harness *harness = harness_open(ops, 1);
	struct model model;
	struct error error = {0};
	harness_small_model(0.0f, &model);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, N);
	spec.compute_type = DATA_BFLOAT16;
	struct program *program = NULL;
	assert_false(ops->program_create(harness->device, &spec, &program, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	unsetenv("PENSTOCK_STAND_IN_CAPABILITY");
	harness_close(harness);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_allocate_nothing),
		cmocka_unit_test(steps_of_a_middle_stage_allocate_nothing),
		cmocka_unit_test(steps_any_checkpoint_interval_in_bfloat16_gives_the_same_bits),
		cmocka_unit_test(steps_of_replicas_give_the_same_bits),
		cmocka_unit_test(program_memory_of_replicas_has_two_buffers_more),
		cmocka_unit_test(gradients_on_their_way_let_other_work_go_on),
		cmocka_unit_test(steps_other_types_stay_close_to_float32),
		cmocka_unit_test(write_input_of_the_first_stage_is_padded),
		cmocka_unit_test(backward_of_relu_with_its_neighbours_gives_the_same_bits),
		cmocka_unit_test(backward_of_relu_is_no_pass_of_its_own),
		cmocka_unit_test(bfloat16_on_an_old_gpu_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
