// Linear layers as matrix products on row-major weights: forward, gradients and optimizer share one layout, so that the
// large matrices of AlexNet and VGG are never reordered. Which product is the fastest is timed per shape.
#include <stdio.h>

#include "stage_server/device/cpu/matrix.h"
#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

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

static bool try_product(void *context, uint32_t product)
{
	const struct trial *t = context;
	struct program *program = t->program;
	const struct layer_state *state = t->state;
	int64_t in = state->layer->in_channels, out = state->layer->out_channels, n = program->n;
	n = n < TRIAL_N ? n : TRIAL_N;
	in = in < TRIAL_IN ? in : TRIAL_IN;
	out = out < TRIAL_WEIGHTS / in ? out : TRIAL_WEIGHTS / in;
	const float *weight = program_pointer(program, &state->weight->value, 0);
	if (t->pass == PASS_FORWARD)
		return forward_product(program->device->threads, product, n, in, out,
				       program_pointer(program, &state->input.block, 0), weight,
				       program_pointer(program, &state->output.block, 0));
	return backward_product(program->device->threads, product, n, in, out, program_gradient(program), weight,
				program_next_gradient(program));
}

static void linear_ask(struct program *program, struct layer_state *state)
{
	for (enum kernel_pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_INPUT; pass++) {
		char key[CHOICE_TEXT_SIZE];
		if (pass == PASS_BACKWARD_INPUT && (!program->training || state->is_first))
			continue;
		snprintf(key, sizeof(key), "linear-%s/n=%u/in=%u/out=%u",
			 pass == PASS_FORWARD ? "forward" : "backward-input", program->n, state->layer->in_channels,
			 state->layer->out_channels);
		program_ask(program, state, pass, key, try_product);
		struct choice *question = state->question[pass];
		uint32_t count = matrix_is_supported() ? PRODUCT_COUNT : PRODUCT_SGEMM + 1;
		question->count = count;
		for (uint32_t i = 0; i < count; i++)
			snprintf(question->names[i], sizeof(question->names[i]), "%s", product_names[i]);
	}
}

static void linear_settle(struct program *program, struct layer_state *state)
{
	for (enum kernel_pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_INPUT; pass++)
		state->choice[pass] = choice_index(state->question[pass]);
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
	.ask = linear_ask,
	.prepare = linear_prepare,
	.place = linear_place,
	.settle = linear_settle,
	.forward = linear_forward,
	.backward_weight = linear_backward_weight,
	.backward_input = linear_backward_input,
};
