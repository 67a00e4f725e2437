// Activation checkpointing (Chen, Xu, Zhang, Guestrin: "Training Deep Nets with Sublinear Memory Cost", 2016): a slot keeps only the
// input of each run of layers, and the backward pass computes the run again from it, with the same kernels and the same draws of
// dropout, so to the same bits. What a run computes lies in one region that all slots share; the last that went forward is still
// there, so a micro-batch that goes backward at once does not compute its last run twice.
//
// A program that is not for training has one run and computes nothing again: all that it keeps of a slot is the input and the
// output.
#include <stdlib.h>

#include "stage_server/device/cuda/program.h"

// The run's last product need not be computed again: nothing of this run reads it but the ReLU behind it, and that reads it where
// the slot keeps it as the next run's input, or as the program's output.
static uint32_t end_of_recompute(const struct program *program, const struct layer_run *run)
{
	uint32_t last = run->end - 1;
	if (program->layers[last].done_before && last > run->begin)
		last--;
	enum layer_kind kind = program->layers[last].layer->kind;
	return kind == LAYER_CONVOLUTION || kind == LAYER_LINEAR ? last : run->end;
}

bool cuda_checkpoint_prepare(struct program *program, uint32_t interval, struct error *error)
{
	bool is_shared = interval > 0 || !program->training;
	uint32_t length =
		program->training && interval > 0 && interval < program->layer_count ? interval : program->layer_count;
	program->inner_region = is_shared ? REGION_SHARED : REGION_STASH;
	program->run_count = (program->layer_count + length - 1) / length;
	program->runs = calloc(program->run_count, sizeof(program->runs[0]));
	program->first_samples = calloc(program->slots, sizeof(program->first_samples[0]));
	if (program->runs == NULL || program->first_samples == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	program->held_slot = program->slots;
	for (uint32_t i = 0; i < program->run_count; i++) {
		struct layer_run *run = &program->runs[i];
		run->begin = i * length;
		run->end = run->begin + length < program->layer_count ? run->begin + length : program->layer_count;
		for (uint32_t l = run->begin; l < run->end; l++)
			program->layers[l].run = i;
		run->end_of_recompute = end_of_recompute(program, run);
	}
	return true;
}

void cuda_checkpoint_begin_forward(struct program *program, const struct layer_state *state, uint32_t slot,
				   uint64_t first_sample)
{
	program->first_samples[slot] = first_sample;
	program->held_slot = slot;
	program->held_run = state->run;
}

bool cuda_checkpoint_restore(struct program *program, const struct layer_state *state, uint32_t slot,
			     struct error *error)
{
	if (program->inner_region == REGION_STASH || (program->held_slot == slot && program->held_run == state->run))
		return true;
	const struct layer_run *run = &program->runs[state->run];
	for (uint32_t i = run->begin; i < run->end_of_recompute; i++) {
		struct layer_state *layer = &program->layers[i];
		if (layer->class->forward != NULL &&
		    !layer->class->forward(program, layer, slot, program->first_samples[slot], error))
			return error_wrap(error, "compute layer %s again", layer->layer->name);
	}
	program->held_slot = slot;
	program->held_run = state->run;
	return true;
}
