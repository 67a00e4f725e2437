// Linear layers as matrix products on row-major weights: forward, gradients and optimizer share one layout, so that the
// large matrices of AlexNet and VGG are never reordered. Which product is the fastest is timed per shape.
#include <stdio.h>

#include "stage_server/device/cpu/matrix.h"
#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"
#include "stage_server/device/tuning.h"

// How the forward pass and the input gradient are computed. The weight gradient is always an SGEMM: it writes the whole
// matrix once, which is all that it costs.
enum product { PRODUCT_SGEMM, PRODUCT_TILES, PRODUCT_COUNT };
static const char *const product_names[PRODUCT_COUNT] = {"sgemm", "tiles"};

static bool forward_product(uint32_t threads, uint32_t product, int64_t n, int64_t in, int64_t out, const float *input,
			    const float *weight, float *output)
{
	if (product == PRODUCT_SGEMM)
		return onednn_sgemm(false, true, n, out, in, input, in, weight, in, 0.0f, output, out);
	matrix_forward(threads, (uint64_t)n, (uint64_t)out, (uint64_t)in, input, weight, output);
	return true;
}

static bool backward_product(uint32_t threads, uint32_t product, int64_t n, int64_t in, int64_t out,
			     const float *gradient, const float *weight, float *input_gradient)
{
	if (product == PRODUCT_SGEMM)
		return onednn_sgemm(false, false, n, in, out, gradient, out, weight, in, 0.0f, input_gradient, in);
	matrix_backward(threads, (uint64_t)n, (uint64_t)out, (uint64_t)in, gradient, weight, input_gradient);
	return true;
}

// A trial is cut to what still shows the difference: rows of the micro-batch beyond these, and weights beyond some tens of
// MiB (more than a cache of the second level holds), only repeat it. It runs in the program's own memory, which is
// larger, and takes at most 2^31 multiply-adds.
enum { TRIAL_N = 128, TRIAL_WEIGHTS = 16 << 20, TRIAL_OUT = 64, TRIAL_IN = TRIAL_WEIGHTS / TRIAL_OUT };

struct trial {
	uint32_t threads;
	enum kernel_pass pass;
	int64_t n, in, out;
	const float *from, *weight;
	float *to;
};

static bool try_product(void *context, uint32_t product)
{
	const struct trial *t = context;
	return (t->pass == PASS_FORWARD ? forward_product : backward_product)(t->threads, product, t->n, t->in, t->out,
									      t->from, t->weight, t->to);
}

static uint32_t choose_product(struct program *program, struct layer_state *state, enum kernel_pass pass)
{
	if (!matrix_is_supported())
		return PRODUCT_SGEMM;
	int64_t in = state->layer->in_channels, out = state->layer->out_channels, n = program->n;
	bool forward = pass == PASS_FORWARD;
	struct trial trial = {
		.threads = program->device->threads,
		.pass = pass,
		.n = n < TRIAL_N ? n : TRIAL_N,
		.in = in < TRIAL_IN ? in : TRIAL_IN,
		.from = forward ? program_pointer(program, &state->input.block, 0) : program_gradient(program),
		.weight = program_pointer(program, &state->weight->value, 0),
		.to = forward ? program_pointer(program, &state->output.block, 0) : program_next_gradient(program),
	};
	trial.out = out < TRIAL_WEIGHTS / trial.in ? out : TRIAL_WEIGHTS / trial.in;
	char key[TUNING_KEY_SIZE];
	snprintf(key, sizeof(key), "linear-%s/n=%lld/in=%lld/out=%lld", forward ? "forward" : "backward-input",
		 (long long)n, (long long)in, (long long)out);
	struct tuning_question question = {
		.key = key,
		.count = PRODUCT_COUNT,
		.names = {product_names[0], product_names[1]},
		.run = try_product,
		.context = &trial,
		.stopped = program->stopped,
	};
	return tuning_choose(program->device->tuning, &question);
}

static void linear_choose(struct program *program, struct layer_state *state)
{
	state->choice[PASS_FORWARD] = choose_product(program, state, PASS_FORWARD);
	if (program->training && !state->is_first)
		state->choice[PASS_BACKWARD_INPUT] = choose_product(program, state, PASS_BACKWARD_INPUT);
}

static bool linear_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	if (state->rank != 2)
		return error_set(error, ERROR_USAGE, "a linear layer needs a flatten before it");
	state->wanted_input = state->given_gradient = state->plain_input;
	state->given_output = state->wanted_for_weight = state->wanted_for_input = state->plain_output;
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
	.choose = linear_choose,
	.forward = linear_forward,
	.backward_weight = linear_backward_weight,
	.backward_input = linear_backward_input,
};
