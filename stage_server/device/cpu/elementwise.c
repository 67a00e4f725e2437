// ReLU and flatten: layers that compute in place, or nothing.
#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

// In place is sound: no layer before a ReLU needs its own output for its backward pass, only its input.
static bool relu_place(struct program *program, struct layer_state *state, struct error *error)
{
	state->output = state->input;
	state->wanted_for_input = state->given_gradient = state->output.layout;
	return true;
}

static bool relu_forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample)
{
	if (!state->done_before)
		vector_relu(program->device->threads, layout_bytes(state->output.layout) / sizeof(float),
			    program_pointer(program, &state->output.block, slot));
	return true;
}

static bool relu_backward_input(struct program *program, struct layer_state *state, uint32_t slot)
{
	vector_relu_backward(program->device->threads, layout_bytes(state->output.layout) / sizeof(float),
			     program_pointer(program, &state->output.block, slot), program_gradient(program));
	return true;
}

const struct layer_class relu_class = {
	.in_place = true,
	.place = relu_place,
	.forward = relu_forward,
	.backward_input = relu_backward_input,
};

// Row-major (N, C, H, W) is row-major (N, CHW): only the names of the layouts change.
static bool flatten_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	state->wanted_input = state->given_gradient = state->plain_input;
	state->given_output = state->wanted_for_input = state->plain_output;
	return true;
}

static bool flatten_place(struct program *program, struct layer_state *state, struct error *error)
{
	state->output.block = state->input.block;
	return true;
}

const struct layer_class flatten_class = {.prepare = flatten_prepare, .place = flatten_place};
