// One pass of one layer at a time, through a slot; and, with checkpoints, runs of layers that are computed again.
#include "stage_server/device/cpu/program.h"

#include <omp.h>
#include <string.h>

#include "common/base/clock.h"

bool program_enter(struct program *program, const char *operation, uint32_t slot, bool needs_training,
		   struct error *error)
{
	omp_set_num_threads((int)program->device->threads);
	if (slot >= program->slots)
		return error_set(error, ERROR_FAILED, "%s: slot %u of %u", operation, slot, program->slots);
	if (needs_training && !program->training)
		return error_set(error, ERROR_FAILED, "%s: the program is not for training", operation);
	return true;
}

static struct layer_state *find_layer(struct program *program, const char *operation, uint32_t layer,
				      struct error *error)
{
	if (layer >= program->first_layer && layer < program->end_layer)
		return &program->layers[layer - program->first_layer];
	error_set(error, ERROR_FAILED, "%s: layer %u is not in this stage, [%u, %u)", operation, layer,
		  program->first_layer, program->end_layer);
	return NULL;
}

static bool fault(const struct layer_state *state, const char *operation, struct error *error)
{
	return error_set(error, ERROR_FAILED, "%s of layer %s (%s) failed in oneDNN", operation, state->layer->name,
			 layer_kind_name(state->layer->kind));
}

static bool forward_layer(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample)
{
	if (state->copies_input)
		memcpy(program_pointer(program, &state->output.block, slot),
		       program_pointer(program, &state->input.block, slot), state->input.block.bytes);
	return (state->input_reorder == NULL ||
		program_convert(program, state->input_reorder, program_pointer(program, &state->arriving.block, slot),
				program_pointer(program, &state->input.block, slot), 0)) &&
	       (state->class->forward == NULL || state->class->forward(program, state, slot, first_sample));
}

static uint32_t run_of(const struct program *program, const struct layer_state *state)
{
	return (uint32_t)(state - program->layers) / program->checkpoint_interval;
}

// From here on the stash is the slot's and the run's that `head` begins.
static void begin_run(struct program *program, const struct layer_state *head, uint32_t slot)
{
	program->held_slot = slot;
	program->held_run = run_of(program, head);
}

bool program_hold(struct program *program, uint32_t slot, struct layer_state *state)
{
	if (program->checkpoint_interval == 0 ||
	    (program->held_slot == slot && program->held_run == run_of(program, state)))
		return true;
	struct layer_state *head = program->layers + (size_t)run_of(program, state) * program->checkpoint_interval;
	struct layer_state *end = program->layers + program->layer_count;
	begin_run(program, head, slot);
	for (struct layer_state *next = head; next < end && (next == head || !next->heads_run); next++)
		if (!forward_layer(program, next, slot, program->first_sample[slot])) {
			program->held_slot = program->slots;
			return false;
		}
	return true;
}

bool cpu_forward(struct program *program, uint32_t slot, uint32_t layer, uint64_t first_sample, struct error *error)
{
	struct layer_state *state = find_layer(program, "forward", layer, error);
	if (state == NULL || !program_enter(program, "forward", slot, false, error))
		return false;
	program->first_sample[slot] = first_sample;
	if (state->heads_run) {
		if (state > program->layers) // before the stash becomes this run's
			memcpy(program_pointer(program, &state->kept, slot),
			       program_pointer(program, &state[-1].output.block, slot), state->kept.bytes);
		begin_run(program, state, slot);
	}
	return forward_layer(program, state, slot, first_sample) || fault(state, "forward", error);
}

static bool reorder_gradient(struct program *program, struct kernel *kernel)
{
	if (kernel == NULL)
		return true;
	if (!program_convert(program, kernel, program_gradient(program), program_next_gradient(program), 0))
		return false;
	program_swap_gradients(program);
	return true;
}

bool cpu_backward_weight(struct program *program, uint32_t slot, uint32_t layer, struct error *error)
{
	struct layer_state *state = find_layer(program, "backward_weight", layer, error);
	if (state == NULL || !program_enter(program, "backward_weight", slot, true, error))
		return false;
	if (state->class->backward_weight == NULL)
		return true;
	if (!program_hold(program, slot, state) || !reorder_gradient(program, state->reorder_for_weight) ||
	    !state->class->backward_weight(program, state, slot))
		return fault(state, "backward_weight", error);
	return true;
}

bool cpu_backward_input(struct program *program, uint32_t slot, uint32_t layer, struct error *error)
{
	struct layer_state *state = find_layer(program, "backward_input", layer, error);
	if (state == NULL || !program_enter(program, "backward_input", slot, true, error))
		return false;
	if (state->is_first)
		return true;
	if (!program_hold(program, slot, state) || !reorder_gradient(program, state->reorder_for_input))
		return fault(state, "backward_input", error);
	if (state->class->backward_input != NULL && !state->class->backward_input(program, state, slot))
		return fault(state, "backward_input", error);
	return true;
}

// Nothing runs behind the caller's back here.
bool cpu_synchronize(struct program *program, struct error *error)
{
	return true;
}

bool cpu_mark(struct program *program, uint32_t mark, struct error *error)
{
	if (mark >= program->mark_count)
		return error_set(error, ERROR_FAILED, "mark %u of %u", mark, program->mark_count);
	program->marks[mark] = clock_now_ns();
	return true;
}

bool cpu_elapsed(struct program *program, uint32_t from, uint32_t to, uint64_t *ret_ns, struct error *error)
{
	if (from >= program->mark_count || to >= program->mark_count)
		return error_set(error, ERROR_FAILED, "elapsed: time marks %u and %u, the stage has %u", from, to,
				 program->mark_count);
	*ret_ns = program->marks[to] - program->marks[from];
	return true;
}
