// ReLU and flatten: layers that work in place, or do nothing.
#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

static bool relu_keeps_place(const struct program *program, const struct layer *layer)
{
	return true;
}

// In place is sound: no layer before a ReLU needs its own output for its backward pass, only its input.
static bool relu_forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample,
			 struct error *error)
{
	if (!cuda_bring_input(program, state, slot, error))
		return false;
	return state->done_before ||
	       cuda_ok(kernel_relu(program->compute, program->type, value_count(program, &state->output),
				   program_pointer(program, &state->output.block, slot)),
		       error, "kernel_relu");
}

static bool relu_backward_input(struct program *program, struct layer_state *state, uint32_t slot, struct error *error)
{
	return cuda_ok(kernel_relu_backward(program->compute, program->type, value_count(program, &state->output),
					    program_pointer(program, &state->output.block, slot),
					    program_gradient(program)),
		       error, "kernel_relu_backward");
}

const struct layer_class cuda_relu_class = {
	.keeps_place = relu_keeps_place,
	.prepare = cuda_place_output,
	.forward = relu_forward,
	.backward_input = relu_backward_input,
};

// (N, P, C) to (N, C * P), the order that PyTorch's linear layers count on; of one position it is the same.
static bool flatten_keeps_place(const struct program *program, const struct layer *layer)
{
	return layer->input.height * layer->input.width == 1;
}

static bool flatten_forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample,
			    struct error *error)
{
	if (flatten_keeps_place(program, state->layer))
		return cuda_bring_input(program, state, slot, error);
	return cuda_ok(kernel_to_channels_first(program->compute, program->n, state->input.channels,
						state->input.positions, program->type,
						program_pointer(program, &state->input.block, slot), program->type,
						program_pointer(program, &state->output.block, slot)),
		       error, "kernel_to_channels_first");
}

static bool flatten_backward_input(struct program *program, struct layer_state *state, uint32_t slot,
				   struct error *error)
{
	if (flatten_keeps_place(program, state->layer))
		return true;
	if (!cuda_ok(kernel_to_channels_last(program->compute, program->n, state->input.channels,
					     state->input.positions, program->type, program_gradient(program),
					     program->type, program_next_gradient(program)),
		     error, "kernel_to_channels_last"))
		return false;
	program_swap_gradients(program);
	return true;
}

const struct layer_class cuda_flatten_class = {
	.keeps_place = flatten_keeps_place,
	.prepare = cuda_place_output,
	.forward = flatten_forward,
	.backward_input = flatten_backward_input,
};
