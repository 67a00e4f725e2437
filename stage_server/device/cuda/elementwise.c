// ReLU and flatten: layers that work in place, or do nothing. The bias's gradient, which comes with ReLU's.
#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

static bool relu_keeps_place(const struct program *program, const struct layer *layer)
{
	return true;
}

// In place is sound: of its own output a layer before a ReLU needs nothing for its backward pass but where that is above 0.
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

bool cuda_bias_backward(struct program *program, const struct layer_state *state, uint32_t slot, struct error *error)
{
	struct parameter_state *bias = state->bias;
	uint64_t rows = (uint64_t)program->n * state->output.positions;
	uint32_t columns = state->output.channels;
	bool add = !bias->gradient_is_zero;
	float *sums = cuda_parameter_gradient(program, bias);
	void *gradient = program_gradient(program), *scratch = program_pointer(program, &program->scratch, 0);
	bias->gradient_is_zero = false;
	if (state->does_relu_backward)
		return cuda_ok(kernel_relu_backward_sums(program->compute, program->type, rows, columns,
							 program_pointer(program, &state->output.block, slot), gradient,
							 add, sums, scratch),
			       error, "kernel_relu_backward_sums");
	return cuda_ok(kernel_column_sums(program->compute, program->type, rows, columns, gradient, add, sums, scratch),
		       error, "kernel_column_sums");
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
