// What is the CUDA device's own, on the stand-in for CUDA: nothing allocated in a step, faults that end one program and no more,
// memory that is not there, 16-bit types, completions that come on another thread.
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

#include "stage_server/device/cuda/cuda.h"
#include "tests/cuda_stand_in/stand_in.h"
#include "tests/unit/device/harness.h"
#include "tests/unit/device/rule.h"

enum { N = 4, SLOTS = 2, MICRO_BATCHES = 4, RAW = 32, MOST_PARAMETERS = 16 };

static const struct device_ops *const ops = &cuda_device_ops;

// What a completion was called with.
struct calls {
	atomic_int good, bad;
};

static void count_call(void *user, bool ok)
{
	struct calls *calls = user;
	atomic_fetch_add(ok ? &calls->good : &calls->bad, 1);
}

struct job {
	struct harness *harness;
	bool has_own_harness;
	struct model model;
	struct program_spec spec;
	struct program *program;
	struct calls calls;
	int issued; // operations with a completion that returned true
	uint8_t images[N * 3 * RAW * RAW], labels[N];
	float output[N * 10];
	float *gradients[MOST_PARAMETERS]; // pinned, of each parameter; with replicas
};

// In a harness of its own if there is none yet. Jobs that are to agree to the bit share one, and so the file of choices.
static struct job *job_open(struct harness *harness, enum data_type type, uint32_t checkpoint_interval)
{
	struct job *job = calloc(1, sizeof(*job));
	assert_non_null(job);
	job->harness = harness != NULL ? harness : harness_open(ops, 1);
	job->has_own_harness = harness == NULL;
	harness_small_model(0.5f, &job->model);
	job->spec = harness_spec(&job->model, 0, job->model.layer_count, N);
	job->spec.slots = SLOTS;
	job->spec.micro_batches = MICRO_BATCHES;
	job->spec.marks = 2;
	job->spec.compute_type = type;
	job->spec.checkpoint_interval = checkpoint_interval;
	job->program = harness_program(job->harness, &job->spec);
	return job;
}

static void allocate_gradients(struct job *job)
{
	assert_true(model_parameter_count(&job->model) <= MOST_PARAMETERS);
	for (uint32_t p = 0; p < model_parameter_count(&job->model); p++) {
		struct parameter parameter;
		model_parameter(&job->model, p, &parameter);
		job->gradients[p] = ops->host_allocate(job->harness->device, parameter.count * sizeof(float));
		assert_non_null(job->gradients[p]);
	}
}

static void free_gradients(struct job *job)
{
	for (uint32_t p = 0; p < MOST_PARAMETERS; p++) {
		ops->host_free(job->harness->device, job->gradients[p]);
		job->gradients[p] = NULL;
	}
}

// The same with a program that is one of replicas.
static struct job *job_open_replica(struct harness *harness, enum data_type type, uint32_t checkpoint_interval)
{
	struct job *job = job_open(harness, type, checkpoint_interval);
	ops->program_destroy(job->program);
	job->spec.replicas = true;
	job->program = harness_program(job->harness, &job->spec);
	allocate_gradients(job);
	return job;
}

static void job_close(struct job *job)
{
	ops->program_destroy(job->program);
	free_gradients(job);
	if (job->has_own_harness)
		harness_close(job->harness);
	free(job);
}

static bool issued(struct job *job, bool ok)
{
	job->issued += ok;
	return ok;
}

static bool forward(struct job *job, uint32_t number, struct error *error)
{
	struct device_completion completion = {count_call, &job->calls};
	uint32_t slot = number % SLOTS;
	char name[32];
	snprintf(name, sizeof(name), "micro-batch %u", number);
	rule_fill_bytes(name, sizeof(job->images), job->images);
	rule_fill_labels(name, N, 10, job->labels);
	if (!issued(job, ops->load_images(job->program, slot, job->images, completion, error)) ||
	    !issued(job, ops->load_labels(job->program, slot, job->labels, completion, error)))
		return false;
	for (uint32_t l = 0; l < job->model.layer_count; l++)
		if (!ops->forward(job->program, slot, l, (uint64_t)number * N, error))
			return false;
	return issued(job, ops->read_output(job->program, slot, job->output, completion, error)) &&
	       ops->loss(job->program, slot, number, error) &&
	       ops->synchronize(job->program, error); // the host's memory is used again
}

static bool read_gradients(struct job *job, uint32_t layer, struct error *error)
{
	struct device_completion completion = {count_call, &job->calls};
	uint32_t end = model_first_parameter(&job->model, layer + 1);
	for (uint32_t p = model_first_parameter(&job->model, layer); p < end; p++)
		if (!issued(job, ops->read_gradient(job->program, p, job->gradients[p], completion, error)))
			return false;
	return true;
}

static bool write_gradients(struct job *job, struct error *error)
{
	struct device_completion completion = {count_call, &job->calls};
	for (uint32_t p = 0; p < model_parameter_count(&job->model); p++)
		if (!issued(job, ops->write_gradient(job->program, p, job->gradients[p], completion, error)))
			return false;
	return true;
}

static void wait_for_calls(struct job *job)
{
	while (job->calls.good + job->calls.bad < job->issued)
		sched_yield();
}

// The last one's gradients go out, layer by layer, with replicas.
static bool backward(struct job *job, uint32_t number, struct error *error)
{
	uint32_t slot = number % SLOTS;
	bool reads = job->spec.replicas && number + 1 == MICRO_BATCHES;
	if (!ops->loss_backward(job->program, slot, 1.0f, error))
		return false;
	for (uint32_t l = job->model.layer_count; l-- > 0;)
		if (!ops->backward_weight(job->program, slot, l, error) || (reads && !read_gradients(job, l, error)) ||
		    !ops->backward_input(job->program, slot, l, error))
			return false;
	return true;
}

// Two micro-batches go forward, then both go backward: the second is not the one whose activations are still there.
static bool step(struct job *job, struct error *error)
{
	struct optimizer_step settings = {.learning_rate = 0.05f, .beta1 = 0.9f, .gradient_scale = 1.0f};
	if (!ops->zero_gradients(job->program, error) || !ops->mark(job->program, 0, error))
		return false;
	for (uint32_t begin = 0; begin < MICRO_BATCHES; begin += SLOTS)
		for (uint32_t i = 0; i < 2 * SLOTS; i++)
			if (i < SLOTS ? !forward(job, begin + i, error) : !backward(job, begin + i - SLOTS, error))
				return false;
	wait_for_calls(job);
	if (job->spec.replicas && !write_gradients(job, error))
		return false;
	return ops->optimizer_step(job->program, &settings, error) && ops->mark(job->program, 1, error) &&
	       ops->synchronize(job->program, error);
}

// As in a new process. Nothing may be left of a program.
static void forget_what_is_loaded(void)
{
	assert_int_equal(cudaSetDevice(0), cudaSuccess);
	assert_int_equal(cudaDeviceReset(), cudaSuccess);
}

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

// Nor is any code loaded in one, the first step included, where the tuning file knew every choice and no kernel was timed.
static void steps_allocate_nothing(void **state)
{
	struct harness *harness = harness_open(ops, 1);
	job_close(job_open(harness, DATA_BFLOAT16, 3));
	forget_what_is_loaded();
	struct job *job = job_open_replica(harness, DATA_BFLOAT16, 3);
	struct error error = {0};
	unsigned long before = stand_in_allocations();
	for (int i = 0; i < 2; i++)
		harness_check(step(job, &error), error);
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
		harness_check(step(job, &error), error);
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
		harness_check(step(alone, &error), error);
		harness_check(step(replica, &error), error);
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
	harness_check(forward(job, 0, &error), error);
	wait_for_calls(job);
	int before = job->calls.good;
	// Out: the rest of the backward pass.
	stand_in_hold_copies(job->gradients[index], parameter.count * sizeof(float));
	harness_check(ops->loss_backward(job->program, 0, 1.0f, &error), error);
	for (uint32_t l = job->model.layer_count; l-- > 0;) {
		harness_check(ops->backward_weight(job->program, 0, l, &error), error);
		if (l == parameter.layer)
			harness_check(read_gradients(job, l, &error), error);
		harness_check(ops->backward_input(job->program, 0, l, &error), error);
	}
	harness_check(ops->read_losses(job->program, 1, losses, correct, &error), error); // waits for compute
	assert_int_equal(job->calls.good, before);
	stand_in_hold_copies(NULL, 0);
	wait_for_calls(job);
	assert_int_equal(job->calls.good, before + 2);
	// In: another forward pass; who needs the gradient waits for it.
	for (uint64_t i = 0; i < parameter.count; i++) {
		job->gradients[index][i] = (float)(i % 7) - 3.0f;
		sum += (double)job->gradients[index][i] * job->gradients[index][i];
	}
	stand_in_hold_copies(job->gradients[index], parameter.count * sizeof(float));
	struct device_completion completion = {count_call, &job->calls};
	assert_true(issued(job, ops->write_gradient(job->program, index, job->gradients[index], completion, &error)));
	for (uint32_t l = 0; l < job->model.layer_count; l++)
		harness_check(ops->forward(job->program, 0, l, 0, &error), error);
	harness_check(ops->loss(job->program, 0, 0, &error), error);
	harness_check(ops->read_losses(job->program, 1, losses, correct, &error), error);
	assert_int_equal(job->calls.good, before + 2);
	stand_in_hold_copies(NULL, 0);
	harness_check(ops->gradient_squares(job->program, squares, &error), error);
	assert_true(squares[index] == sum);
	wait_for_calls(job);
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
	harness_check(step(plain, &error), error);
	float losses[MICRO_BATCHES], *expected = parameters(plain);
	uint32_t correct[MICRO_BATCHES];
	harness_check(ops->read_losses(plain->program, MICRO_BATCHES, losses, correct, &error), error);
	for (enum data_type type = DATA_FLOAT32; type < DATA_TYPE_COUNT; type++) { // the first as TF32
		struct job *job = job_open(NULL, type, 0);
		ops->program_destroy(job->program);
		job->spec.allow_tf32 = true;
		job->program = harness_program(job->harness, &job->spec);
		harness_check(step(job, &error), error);
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
		harness_check(forward(job, 0, &error), error);
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

static void destroy_calls_every_completion(void **state)
{
	struct job *job = job_open(NULL, DATA_FLOAT32, 0);
	struct error error = {0};
	struct device_completion completion = {count_call, &job->calls};
	for (int i = 0; i < 600; i++) // more than are under way at once
		harness_check(ops->load_labels(job->program, 0, job->labels, completion, &error), error);
	ops->program_destroy(job->program);
	job->program = NULL;
	assert_int_equal(job->calls.good, 600);
	assert_int_equal(job->calls.bad, 0);
	job_close(job);
}

// Wherever in a step the fault comes: it is told, each completion is called once, and the next program serves.
static void fault_ends_the_program_and_nothing_else(void **state)
{
	int faults = 0;
	for (long when = 1;; when += 73, faults++) {
		struct job *job = job_open_replica(NULL, DATA_FLOAT16, 4);
		struct error error = {0}, again = {0};
		stand_in_fail_after(when);
		if (step(job, &error)) { // it has fewer operations
			stand_in_fail_after(0);
			job_close(job);
			break;
		}
		assert_int_equal(error.code, ERROR_FAILED);
		assert_non_null(strstr(error.message, "cudaErrorIllegalAddress"));
		assert_false(ops->forward(job->program, 0, 0, 0, &again));
		assert_non_null(strstr(again.message, "failed before"));
		struct program *other = NULL;
		assert_false(ops->program_create(job->harness->device, &job->spec, &other, &again));
		assert_null(other);
		ops->program_destroy(job->program);
		assert_int_equal(job->calls.good + job->calls.bad, job->issued);
		free_gradients(job); // pinned memory is the failed GPU's, too
		job->program = harness_program(job->harness, &job->spec);
		allocate_gradients(job);
		harness_check(step(job, &error), error);
		job_close(job);
	}
	assert_true(faults > 3);
}

static void program_allocate_without_memory_gives_all_back(void **state)
{
	struct job *job = job_open(NULL, DATA_FLOAT32, 0);
	struct error error = {0};
	struct device_sample before, after;
	ops->sample(job->harness->device, &before);
	char bytes[32];
	snprintf(bytes, sizeof(bytes), "%.0f", before.memory_used_bytes + 100000);
	setenv("PENSTOCK_STAND_IN_MEMORY", bytes, 1);
	struct program *program = NULL;
	harness_check(ops->program_create(job->harness->device, &job->spec, &program, &error), error);
	assert_false(ops->program_allocate(program, &error));
	unsetenv("PENSTOCK_STAND_IN_MEMORY");
	assert_int_equal(error.code, ERROR_OUT_OF_MEMORY);
	assert_non_null(strstr(error.message, "GiB are free"));
	ops->program_destroy(program);
	ops->sample(job->harness->device, &after);
	assert_true(before.memory_used_bytes == after.memory_used_bytes);
	harness_check(step(job, &error), error);
	job_close(job);
}

// A scrape of an idle daemon takes no memory of the GPU.
static void sample_of_an_idle_gpu_makes_no_context(void **state)
{
	struct device_sample sample;
	forget_what_is_loaded();
	struct harness *harness = harness_open(ops, 1);
	ops->sample(harness->device, &sample);
	assert_true(sample.memory_used_bytes == 0.0 && sample.memory_free_bytes > 0.0);
	assert_false(stand_in_has_context(0));
	harness_close(harness);
}

// A thread that waits for the GPU leaves its processor to others.
static void threads_do_not_spin(void **state)
{
	unsigned flags = 0;
	forget_what_is_loaded();
	struct job *job = job_open(NULL, DATA_FLOAT32, 0);
	assert_int_equal(cudaGetDeviceFlags(&flags), cudaSuccess);
	assert_int_equal(flags & cudaDeviceScheduleMask, cudaDeviceScheduleBlockingSync);
	job_close(job);
}

static void set_gpu(struct device **ret_device, const char *name)
{
	struct device_options options = {.name = name, .threads = 1, .tuning_file = "/dev/null/none"};
	struct error error = {0};
	harness_check(ops->create(&options, ret_device, &error), error);
}

// Another GPU's context is no cure for one that cannot be made: the job on the first one goes on.
static void program_on_a_full_gpu_leaves_the_other_alone(void **state)
{
	struct job *job = job_open(NULL, DATA_FLOAT32, 0);
	struct device *full = NULL;
	struct program *program = NULL;
	struct error error = {0};
	setenv("PENSTOCK_STAND_IN_DEVICES", "2", 1);
	setenv("PENSTOCK_STAND_IN_FULL", "1", 1);
	set_gpu(&full, "cuda:1");
	assert_false(ops->program_create(full, &job->spec, &program, &error));
	assert_int_equal(error.code, ERROR_OUT_OF_MEMORY);
	assert_non_null(strstr(error.message, "use GPU 1"));
	assert_null(strstr(error.message, "failed"));
	assert_null(ops->host_allocate(full, 4096));
	unsetenv("PENSTOCK_STAND_IN_FULL");
	harness_check(step(job, &error), error);
	void *memory = ops->host_allocate(full, 4096); // there is room now
	assert_non_null(memory);
	ops->host_free(full, memory);
	unsetenv("PENSTOCK_STAND_IN_DEVICES");
	ops->destroy(full);
	job_close(job);
}

// Each GPU has its own context, and its own faults.
static void fault_of_one_gpu_leaves_the_other_alone(void **state)
{
	struct harness *harness = harness_open(ops, 1);
	struct job *job = job_open(harness, DATA_FLOAT32, 0);
	struct device *first = harness->device, *second = NULL;
	struct error error = {0};
	setenv("PENSTOCK_STAND_IN_DEVICES", "2", 1);
	set_gpu(&second, "cuda:1");
	harness->device = second;
	struct job *other = job_open(harness, DATA_FLOAT32, 0);
	stand_in_fail_after(5);
	assert_false(step(other, &error));
	error = (struct error){0};
	harness_check(step(job, &error), error);
	job_close(other);
	other = job_open(harness, DATA_FLOAT32, 0); // in a new context
	harness_check(step(other, &error), error);
	harness_check(step(job, &error), error);
	job_close(other);
	unsetenv("PENSTOCK_STAND_IN_DEVICES");
	harness->device = first;
	job_close(job);
	ops->destroy(second);
	harness_close(harness);
}

static void create_gpu_that_is_not_there_says_what_is(void **state)
{
	struct device_options options = {.name = "cuda:7"};
	struct device *device = NULL;
	struct error error = {0};
	assert_false(ops->create(&options, &device, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "cuda:0"));
	assert_null(device);
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
		cmocka_unit_test(destroy_calls_every_completion),
		cmocka_unit_test(fault_ends_the_program_and_nothing_else),
		cmocka_unit_test(program_allocate_without_memory_gives_all_back),
		cmocka_unit_test(sample_of_an_idle_gpu_makes_no_context),
		cmocka_unit_test(threads_do_not_spin),
		cmocka_unit_test(program_on_a_full_gpu_leaves_the_other_alone),
		cmocka_unit_test(fault_of_one_gpu_leaves_the_other_alone),
		cmocka_unit_test(create_gpu_that_is_not_there_says_what_is),
		cmocka_unit_test(bfloat16_on_an_old_gpu_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
