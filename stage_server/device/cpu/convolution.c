// Convolution on oneDNN's direct kernels, which take and give their own blocked layouts.
#include <string.h>

#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

static struct window_shape shape_of(const struct program *program, const struct layer *layer)
{
	return (struct window_shape){
		.n = program->n,
		.channels = layer->in_channels,
		.height = layer->input.height,
		.width = layer->input.width,
		.filters = layer->out_channels,
		.kernel_size = layer->kernel_size,
		.stride = layer->stride,
		.padding = layer->padding,
		.output_height = layer->output.height,
		.output_width = layer->output.width,
	};
}

static bool convolution_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	struct onednn *onednn = program->device->onednn;
	struct window_shape shape = shape_of(program, state->layer);
	if (!kernel_create_convolution(onednn, PASS_FORWARD, &shape, state->relu_follows, 0, NULL, &state->forward,
				       error))
		return false;
	state->wanted_input = kernel_layout(state->forward, ARGUMENT_SOURCE);
	state->given_output = kernel_layout(state->forward, ARGUMENT_DESTINATION);
	state->weight->layout = state->weight->gradient_layout = kernel_layout(state->forward, ARGUMENT_WEIGHTS);
	state->bias->layout = state->bias->gradient_layout = kernel_layout(state->forward, ARGUMENT_BIAS);
	if (!program->training)
		return true;
	if (!kernel_create_convolution(onednn, PASS_BACKWARD_WEIGHT, &shape, false, 0, state->forward,
				       &state->backward_weight, error))
		return false;
	state->wanted_for_weight = kernel_layout(state->backward_weight, ARGUMENT_DESTINATION_GRADIENT);
	state->weight->gradient_layout = kernel_layout(state->backward_weight, ARGUMENT_WEIGHTS_GRADIENT);
	if (!layout_equal(kernel_layout(state->backward_weight, ARGUMENT_SOURCE), state->wanted_input))
		return error_set(
			error, ERROR_FAILED,
			"oneDNN wants the input of the forward pass and of the weight gradient in two layouts");
	if (state->is_first)
		return true;
	if (!kernel_create_convolution(onednn, PASS_BACKWARD_INPUT, &shape, false, 0, state->forward,
				       &state->backward_input, error))
		return false;
	state->wanted_for_input = kernel_layout(state->backward_input, ARGUMENT_DESTINATION_GRADIENT);
	state->given_gradient = kernel_layout(state->backward_input, ARGUMENT_SOURCE_GRADIENT);
	state->backward_weights_layout = kernel_layout(state->backward_input, ARGUMENT_WEIGHTS);
	return program_reorder(program, state->weight->layout, state->backward_weights_layout, &state->weights_reorder,
			       error);
}

static bool convolution_place(struct program *program, struct layer_state *state, struct error *error)
{
	program_need_scratchpad(program, state->forward);
	program_need_scratchpad(program, state->backward_weight);
	program_need_scratchpad(program, state->backward_input);
	if (!program_reserve(program, REGION_STASH, layout_bytes(state->given_output), &state->output.block, error))
		return false;
	if (program->training) {
		uint64_t bytes = layout_bytes(state->weight->gradient_layout);
		bytes += BLOCK_ALIGNMENT - bytes % BLOCK_ALIGNMENT + layout_bytes(state->bias->layout);
		if (bytes > program->weight_temporary_bytes)
			program->weight_temporary_bytes = bytes;
	}
	if (state->weights_reorder == NULL)
		return true;
	return program_reserve(program, REGION_WORKSPACE, layout_bytes(state->backward_weights_layout),
			       &state->weights_copy, error);
}

static bool convolution_forward(struct program *program, struct layer_state *state, uint32_t slot,
				uint64_t first_sample)
{
	return program_run(program, state->forward,
			   (void *[ARGUMENT_COUNT]){
				   [ARGUMENT_SOURCE] = program_pointer(program, &state->input.block, slot),
				   [ARGUMENT_WEIGHTS] = program_pointer(program, &state->weight->value, 0),
				   [ARGUMENT_BIAS] = program_pointer(program, &state->bias->value, 0),
				   [ARGUMENT_DESTINATION] = program_pointer(program, &state->output.block, slot),
			   });
}

// The first micro-batch's gradient is written where it belongs; each later one is computed beside it and added, in order.
static bool convolution_backward_weight(struct program *program, struct layer_state *state, uint32_t slot)
{
	struct parameter_state *weight = state->weight, *bias = state->bias;
	bool overwrite = weight->gradient_is_zero;
	float *weight_sum = program_pointer(program, &weight->gradient, 0);
	float *bias_sum = program_pointer(program, &bias->gradient, 0);
	uint64_t bytes = layout_bytes(weight->gradient_layout);
	uint8_t *temporary = program_pointer(program, &program->weight_temporary, 0);
	float *weight_part = overwrite ? weight_sum : (float *)temporary;
	float *bias_part =
		overwrite ? bias_sum : (float *)(temporary + bytes + BLOCK_ALIGNMENT - bytes % BLOCK_ALIGNMENT);
	if (!program_run(program, state->backward_weight,
			 (void *[ARGUMENT_COUNT]){
				 [ARGUMENT_SOURCE] = program_pointer(program, &state->input.block, slot),
				 [ARGUMENT_DESTINATION_GRADIENT] = program_gradient(program),
				 [ARGUMENT_WEIGHTS_GRADIENT] = weight_part,
				 [ARGUMENT_BIAS_GRADIENT] = bias_part,
			 }))
		return false;
	if (!overwrite) {
		vector_add(program->device->threads, weight->gradient_floats, weight_part, weight_sum);
		vector_add(program->device->threads, bias->gradient_floats, bias_part, bias_sum);
	}
	weight->gradient_is_zero = bias->gradient_is_zero = false;
	return true;
}

static bool convolution_backward_input(struct program *program, struct layer_state *state, uint32_t slot)
{
	void *weights = program_pointer(program, &state->weight->value, 0);
	if (state->weights_reorder != NULL) {
		void *copy = program_pointer(program, &state->weights_copy, 0);
		if (!state->weights_copy_is_current &&
		    !program_convert(program, state->weights_reorder, weights, copy, 0))
			return false;
		state->weights_copy_is_current = true;
		weights = copy;
	}
	if (!program_run(program, state->backward_input,
			 (void *[ARGUMENT_COUNT]){
				 [ARGUMENT_DESTINATION_GRADIENT] = program_gradient(program),
				 [ARGUMENT_WEIGHTS] = weights,
				 [ARGUMENT_SOURCE_GRADIENT] = program_next_gradient(program),
			 }))
		return false;
	program_swap_gradients(program);
	return true;
}

const struct layer_class convolution_class = {
	.prepare = convolution_prepare,
	.place = convolution_place,
	.forward = convolution_forward,
	.backward_weight = convolution_backward_weight,
	.backward_input = convolution_backward_input,
};
