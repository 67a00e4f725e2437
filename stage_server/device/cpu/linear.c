// Linear layers as matrix products on row-major weights: forward, gradients and optimizer share one layout, so that the
// large matrices of AlexNet and VGG are never reordered. Which product is the fastest is timed per shape.
#include <stdio.h>

#include "stage_server/device/cpu/matrix.h"
#include "stage_server/device/cpu/memory.h"
#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/tuning.h"
#include "stage_server/device/cpu/vector.h"

// How the forward pass and the input gradient are computed. The weight gradient is always an SGEMM: it writes the whole
// matrix once, which is all that it costs.
enum method { METHOD_SGEMM, METHOD_TILES, METHOD_COUNT };
static const char *const method_names[METHOD_COUNT] = {"sgemm", "tiles"};

static bool forward_product(uint32_t threads, uint32_t method, int64_t n, int64_t in, int64_t out, const float *input,
			    const float *weight, float *output)
{
	if (method == METHOD_SGEMM)
		return onednn_sgemm(false, true, n, out, in, input, in, weight, in, 0.0f, output, out);
	matrix_forward(threads, (uint64_t)n, (uint64_t)out, (uint64_t)in, input, weight, output);
	return true;
}

static bool backward_product(uint32_t threads, uint32_t method, int64_t n, int64_t in, int64_t out,
			     const float *gradient, const float *weight, float *input_gradient)
{
	if (method == METHOD_SGEMM)
		return onednn_sgemm(false, false, n, in, out, gradient, out, weight, in, 0.0f, input_gradient, in);
	matrix_backward(threads, (uint64_t)n, (uint64_t)out, (uint64_t)in, gradient, weight, input_gradient);
	return true;
}

// Times on a matrix cut to some tens of MiB, larger than a cache of the second level: the rest would only repeat it.
enum { TRIAL_WEIGHT_BYTES = 64 << 20, TRIAL_ROWS = 64 };

struct trial {
	uint32_t threads;
	enum kernel_pass pass;
	int64_t n, in, out;
	uint64_t values_bytes, weight_bytes;
	uint8_t *values, *weight, *result; // NULL until the first candidate runs
};

static bool try_method(void *context, uint32_t method)
{
	struct trial *t = context;
	if (t->values == NULL &&
	    (!memory_check_available(2 * t->values_bytes + t->weight_bytes, NULL) ||
	     !memory_map(t->values_bytes, &t->values, NULL) || !memory_map(t->weight_bytes, &t->weight, NULL) ||
	     !memory_map(t->values_bytes, &t->result, NULL)))
		return false;
	if (t->weight == NULL || t->result == NULL)
		return false;
	return (t->pass == PASS_FORWARD ? forward_product : backward_product)(
		t->threads, method, t->n, t->in, t->out, (float *)t->values, (float *)t->weight, (float *)t->result);
}

static uint32_t choose_method(struct program *program, const struct layer *layer, enum kernel_pass pass)
{
	if (!matrix_is_supported())
		return METHOD_SGEMM;
	int64_t in = layer->in_channels, out = layer->out_channels;
	int64_t rows = TRIAL_WEIGHT_BYTES / (int64_t)sizeof(float) / in;
	rows = rows > TRIAL_ROWS ? rows : TRIAL_ROWS;
	struct trial trial = {
		.threads = program->device->threads,
		.pass = pass,
		.n = program->n,
		.in = in,
		.out = out < rows ? out : rows,
	};
	uint64_t widest = (uint64_t)(in > trial.out ? in : trial.out), page = MEMORY_PAGE_BYTES;
	trial.values_bytes = (program->n * widest * sizeof(float) + page - 1) / page * page;
	trial.weight_bytes = ((uint64_t)(in * trial.out) * sizeof(float) + page - 1) / page * page;
	char key[TUNING_KEY_SIZE];
	snprintf(key, sizeof(key), "linear-%s/n=%u/in=%lld/out=%lld",
		 pass == PASS_FORWARD ? "forward" : "backward-input", program->n, (long long)in, (long long)out);
	struct tuning_question question = {
		.key = key,
		.count = METHOD_COUNT,
		.names = {method_names[0], method_names[1]},
		.run = try_method,
		.context = &trial,
	};
	uint32_t choice = tuning_choose(program->device->tuning, &question);
	memory_unmap(trial.values, trial.values_bytes);
	memory_unmap(trial.weight, trial.weight_bytes);
	memory_unmap(trial.result, trial.values_bytes);
	return choice;
}

static bool linear_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	if (state->rank != 2)
		return error_set(error, ERROR_USAGE, "a linear layer needs a flatten before it");
	state->wanted_input = state->given_gradient = state->plain_input;
	state->given_output = state->wanted_for_weight = state->wanted_for_input = state->plain_output;
	state->weight->layout = state->weight->gradient_layout = state->weight->plain;
	state->bias->layout = state->bias->gradient_layout = state->bias->plain;
	state->choice[PASS_FORWARD] = choose_method(program, state->layer, PASS_FORWARD);
	if (program->training && !state->is_first)
		state->choice[PASS_BACKWARD_INPUT] = choose_method(program, state->layer, PASS_BACKWARD_INPUT);
	return true;
}

static bool linear_place(struct program *program, struct layer_state *state, struct error *error)
{
	return program_reserve(program, REGION_STASH, layout_bytes(state->given_output), &state->output.block, error);
}

// output (N, O) = input (N, I) weight (O, I)^T + bias
static bool linear_forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample)
{
	int64_t in = state->layer->in_channels, out = state->layer->out_channels;
	float *output = program_pointer(program, &state->output.block, slot);
	if (!forward_product(program->device->threads, state->choice[PASS_FORWARD], program->n, in, out,
			     program_pointer(program, &state->input.block, slot),
			     program_pointer(program, &state->weight->value, 0), output))
		return false;
	vector_bias(program->device->threads, program->n, (uint64_t)out,
		    program_pointer(program, &state->bias->value, 0), output, state->relu_follows);
	return true;
}

// weight gradient (O, I) (+)= gradient (N, O)^T input (N, I); bias gradient (O) (+)= sum over N
static bool linear_backward_weight(struct program *program, struct layer_state *state, uint32_t slot)
{
	int64_t in = state->layer->in_channels, out = state->layer->out_channels;
	struct parameter_state *weight = state->weight, *bias = state->bias;
	const float *gradient = program_gradient(program);
	if (!onednn_sgemm(true, false, out, in, program->n, gradient, out,
			  program_pointer(program, &state->input.block, slot), in,
			  weight->gradient_is_zero ? 0.0f : 1.0f, program_pointer(program, &weight->gradient, 0), in))
		return false;
	vector_column_sums(program->device->threads, program->n, (uint64_t)out, gradient, !bias->gradient_is_zero,
			   program_pointer(program, &bias->gradient, 0));
	weight->gradient_is_zero = bias->gradient_is_zero = false;
	return true;
}

// input gradient (N, I) = gradient (N, O) weight (O, I)
static bool linear_backward_input(struct program *program, struct layer_state *state, uint32_t slot)
{
	int64_t in = state->layer->in_channels, out = state->layer->out_channels;
	if (!backward_product(program->device->threads, state->choice[PASS_BACKWARD_INPUT], program->n, in, out,
			      program_gradient(program), program_pointer(program, &state->weight->value, 0),
			      program_next_gradient(program)))
		return false;
	program_swap_gradients(program);
	return true;
}

const struct layer_class linear_class = {
	.prepare = linear_prepare,
	.place = linear_place,
	.forward = linear_forward,
	.backward_weight = linear_backward_weight,
	.backward_input = linear_backward_input,
};
