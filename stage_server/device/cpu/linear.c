// Linear layers as matrix products on row-major weights: forward, gradients and optimizer share one layout, so that the
// large matrices of AlexNet and VGG are never reordered. oneDNN's SGEMM is at least as fast here as its inner product.
#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

static bool linear_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	if (state->rank != 2)
		return error_set(error, ERROR_USAGE, "a linear layer needs a flatten before it");
	state->wanted_input = state->given_gradient = state->plain_input;
	state->given_output = state->wanted_for_weight = state->wanted_for_input = state->plain_output;
	state->weight->layout = state->weight->gradient_layout = state->weight->plain;
	state->bias->layout = state->bias->gradient_layout = state->bias->plain;
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
	if (!onednn_sgemm(false, true, program->n, out, in, program_pointer(program, &state->input.block, slot), in,
			  program_pointer(program, &state->weight->value, 0), in, 0.0f, output, out))
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
	if (!onednn_sgemm(false, false, program->n, in, out, program_gradient(program), out,
			  program_pointer(program, &state->weight->value, 0), in, 0.0f, program_next_gradient(program),
			  in))
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
