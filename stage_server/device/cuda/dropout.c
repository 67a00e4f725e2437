// Dropout, in place. In place is sound: a dropped element's gradient is zero, and a kept one keeps its sign, which is all that a
// ReLU before it asks of its output. What is drawn depends on seed, layer, sample of the run and place in NCHW alone, so the
// draws are the CPU device's, and the same when a run of layers is computed again.
#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

static bool keeps_place(const struct program *program, const struct layer *layer)
{
	return true;
}

static bool is_identity(const struct program *program, const struct layer *layer)
{
	return layer->probability == 0.0f || !program->training;
}

static bool prepare(struct program *program, struct layer_state *state, struct error *error)
{
	if (!cuda_place_output(program, state, error))
		return false;
	if (is_identity(program, state->layer))
		return true;
	state->key = random_key_make(program->seed, RANDOM_DROPOUT, random_hash_name(state->layer->name));
	return cuda_reserve(program, program->inner_region, value_count(program, &state->output), &state->kept, error);
}

static struct dropout_kernel spec_of(const struct program *program, const struct layer_state *state)
{
	return (struct dropout_kernel){
		.key = state->key,
		.n = program->n,
		.positions = state->output.positions,
		.channels = state->output.channels,
		.probability = state->layer->probability,
	};
}

static bool forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample,
		    struct error *error)
{
	if (!cuda_bring_input(program, state, slot, error))
		return false;
	if (is_identity(program, state->layer))
		return true;
	struct dropout_kernel spec = spec_of(program, state);
	spec.first_sample = first_sample;
	return cuda_ok(kernel_dropout(program->compute, program->type, &spec,
				      program_pointer(program, &state->output.block, slot),
				      program_pointer(program, &state->kept, slot)),
		       error, "kernel_dropout");
}

static bool backward_input(struct program *program, struct layer_state *state, uint32_t slot, struct error *error)
{
	if (is_identity(program, state->layer))
		return true;
	struct dropout_kernel spec = spec_of(program, state);
	return cuda_ok(kernel_dropout_backward(program->compute, program->type, &spec,
					       program_pointer(program, &state->kept, slot), program_gradient(program)),
		       error, "kernel_dropout_backward");
}

const struct layer_class cuda_dropout_class = {
	.keeps_place = keeps_place,
	.prepare = prepare,
	.forward = forward,
	.backward_input = backward_input,
};
