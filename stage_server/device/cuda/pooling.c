// Max pool, which keeps where each maximum was, a byte an output, and needs neither its input nor its output afterwards; behind a
// ReLU it does that layer's backward pass, too, at no cost: the byte says where there is none to go. Adaptive average pool.
#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

enum { MAXIMUM_WINDOW = 15 }; // so that a place fits a byte, and one byte is no place

_Static_assert((int)MODEL_MAXIMUM_IMAGE_SIZE <= UINT16_MAX, "kernel_average_pool multiplies sides in 32 bits");

static struct pool_kernel spec_of(const struct program *program, const struct layer *layer)
{
	return (struct pool_kernel){
		.n = program->n,
		.channels = layer->input.channels,
		.height = layer->input.height,
		.width = layer->input.width,
		.output_height = layer->output.height,
		.output_width = layer->output.width,
		.window = layer->kernel_size,
		.stride = layer->stride,
	};
}

static bool max_pool_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	if (state->layer->kernel_size > MAXIMUM_WINDOW)
		return error_set(error, ERROR_USAGE, "a window of %u; the largest on a GPU is %d",
				 state->layer->kernel_size, MAXIMUM_WINDOW);
	return cuda_place_output(program, state, error) &&
	       cuda_reserve(program, program->inner_region, value_count(program, &state->output), &state->kept, error);
}

static bool max_pool_forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample,
			     struct error *error)
{
	struct pool_kernel spec = spec_of(program, state->layer);
	return cuda_ok(kernel_max_pool(program->compute, program->type, &spec, state->does_relu_backward,
				       program_pointer(program, &state->input.block, slot),
				       program_pointer(program, &state->output.block, slot),
				       program_pointer(program, &state->kept, slot)),
		       error, "kernel_max_pool");
}

static bool max_pool_backward_input(struct program *program, struct layer_state *state, uint32_t slot,
				    struct error *error)
{
	struct pool_kernel spec = spec_of(program, state->layer);
	if (!cuda_ok(kernel_max_pool_backward(program->compute, program->type, &spec, program_gradient(program),
					      program_pointer(program, &state->kept, slot),
					      program_next_gradient(program)),
		     error, "kernel_max_pool_backward"))
		return false;
	program_swap_gradients(program);
	return true;
}

const struct layer_class cuda_max_pool_class = {
	.prepare = max_pool_prepare,
	.forward = max_pool_forward,
	.backward_input = max_pool_backward_input,
};

// An adaptive pool from a size to the same size is the identity, to the bit.
static bool average_pool_keeps_place(const struct program *program, const struct layer *layer)
{
	return layer->input.height == layer->output.height && layer->input.width == layer->output.width;
}

static bool average_pool_forward(struct program *program, struct layer_state *state, uint32_t slot,
				 uint64_t first_sample, struct error *error)
{
	if (average_pool_keeps_place(program, state->layer))
		return cuda_bring_input(program, state, slot, error);
	struct pool_kernel spec = spec_of(program, state->layer);
	return cuda_ok(kernel_average_pool(program->compute, program->type, &spec,
					   program_pointer(program, &state->input.block, slot),
					   program_pointer(program, &state->output.block, slot)),
		       error, "kernel_average_pool");
}

static bool average_pool_backward_input(struct program *program, struct layer_state *state, uint32_t slot,
					struct error *error)
{
	if (average_pool_keeps_place(program, state->layer))
		return true;
	struct pool_kernel spec = spec_of(program, state->layer);
	if (!cuda_ok(kernel_average_pool_backward(program->compute, program->type, &spec, program_gradient(program),
						  program_next_gradient(program)),
		     error, "kernel_average_pool_backward"))
		return false;
	program_swap_gradients(program);
	return true;
}

const struct layer_class cuda_average_pool_class = {
	.keeps_place = average_pool_keeps_place,
	.prepare = cuda_place_output,
	.forward = average_pool_forward,
	.backward_input = average_pool_backward_input,
};
