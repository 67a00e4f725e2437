// What one stage can prove of its own list. The list may come from a peer: nothing in it is trusted, and
// behind this check an executor needs no check of its own. What only all lists together show is in check.c.
//
// Beside the obvious order (input, forward, backward; each once), an executor relies on:
// - a device keeps one output gradient and one input gradient at a time, so that a received gradient is
// consumed before
//   the next is received, and a computed one is sent before the next is computed;
// - the coordinator's data comes in the order of the micro-batches, so load_input does too;
// - weight gradients are summed in the order of the micro-batches, so that the sum is the same in every
// schedule.
#include <inttypes.h>
#include <stdlib.h>

#include "common/schedule/schedule.h"

enum { NOBODY = UINT32_MAX };

// What has happened to a micro-batch so far.
enum {
	LOADED = 1 << 0,
	RECEIVED = 1 << 1,
	FORWARDED = 1 << 2,
	SENT = 1 << 3,
	GRADIENT_RECEIVED = 1 << 4,
	INPUT_GRADIENT_DONE = 1 << 5,
	WEIGHT_GRADIENT_DONE = 1 << 6,
	GRADIENT_SENT = 1 << 7,
};

struct check {
	const struct stage_schedule *list;
	uint32_t stage, stages, micro_batches;
	bool first, last;
	uint8_t *done;        // per micro-batch
	uint32_t *slot_owner; // per slot: the micro-batch whose activations are alive in it, or NOBODY
	uint32_t next_load, next_weight_gradient;
	uint32_t gradient_held;   // received, its backward not begun
	uint32_t gradient_unsent; // computed, not yet sent
	bool reduced, stepped;
};

static bool take_slot(struct check *check, uint32_t micro_batch, struct error *error)
{
	uint32_t slot = micro_batch % check->list->slots;
	uint32_t owner = check->slot_owner[slot];
	if (owner != NOBODY && owner != micro_batch)
		return error_set(error, ERROR_USAGE, "slot %u still holds micro-batch %u", slot, owner);
	check->slot_owner[slot] = micro_batch;
	return true;
}

// Marks `what` as done, once, and only when all of `needed` are.
static bool mark(struct check *check, uint32_t micro_batch, unsigned what, unsigned needed, struct error *error)
{
	static const char *const names[] = {"load_input",    "recv_activation", "forward",         "send_activation",
					    "recv_gradient", "backward_input",  "backward_weight", "send_gradient"};
	unsigned done = check->done[micro_batch];
	if ((done & what) != 0)
		return error_set(error, ERROR_USAGE, "duplicate instruction");
	for (unsigned bit = 0; bit < 8; bit++)
		if ((needed & ~done & 1u << bit) != 0)
			return error_set(error, ERROR_USAGE, "no %s precedes it", names[bit]);
	check->done[micro_batch] |= (uint8_t)what;
	return true;
}

static bool check_load(struct check *check, uint32_t b, struct error *error)
{
	if (!check->first && !check->last)
		return error_set(error, ERROR_USAGE, "only the first and the last stage have input");
	if (!take_slot(check, b, error) || !mark(check, b, LOADED, 0, error))
		return false;
	return b == check->next_load++ ? true
				       : error_set(error, ERROR_USAGE,
						   "input must be loaded in the order of the micro-batches, %u is next",
						   check->next_load - 1);
}

static bool check_receive_activation(struct check *check, uint32_t b, struct error *error)
{
	if (check->first)
		return error_set(error, ERROR_USAGE, "the first stage has no stage before it");
	return take_slot(check, b, error) && mark(check, b, RECEIVED, 0, error);
}

static bool check_forward(struct check *check, uint32_t b, struct error *error)
{
	unsigned needed = (check->first || check->last ? LOADED : 0) | (check->first ? 0 : RECEIVED);
	return mark(check, b, FORWARDED, needed, error);
}

static bool check_send_activation(struct check *check, uint32_t b, struct error *error)
{
	if (check->last)
		return error_set(error, ERROR_USAGE, "the last stage has no stage after it");
	return mark(check, b, SENT, FORWARDED, error);
}

static bool check_receive_gradient(struct check *check, uint32_t b, struct error *error)
{
	if (check->last)
		return error_set(error, ERROR_USAGE, "the last stage has no stage after it");
	if (check->gradient_held != NOBODY)
		return error_set(error, ERROR_USAGE, "the gradient of micro-batch %u has not been used yet",
				 check->gradient_held);
	check->gradient_held = b;
	return mark(check, b, GRADIENT_RECEIVED, SENT, error);
}

static bool check_backward_input(struct check *check, uint32_t b, struct error *error)
{
	if (check->gradient_unsent != NOBODY)
		return error_set(error, ERROR_USAGE, "the gradient of micro-batch %u has not been sent yet",
				 check->gradient_unsent);
	if (!mark(check, b, INPUT_GRADIENT_DONE, FORWARDED | (check->last ? 0 : SENT | GRADIENT_RECEIVED), error))
		return false;
	check->gradient_held = NOBODY; // it was b's: any other would have stopped b's from being received
	if (!check->first)
		check->gradient_unsent = b;
	return true;
}

// The activations are dead after it.
static bool check_backward_weight(struct check *check, uint32_t b, struct error *error)
{
	if (!mark(check, b, WEIGHT_GRADIENT_DONE, INPUT_GRADIENT_DONE, error))
		return false;
	check->slot_owner[b % check->list->slots] = NOBODY;
	return b == check->next_weight_gradient++
		       ? true
		       : error_set(error, ERROR_USAGE,
				   "weight gradients must be summed in the order of the micro-batches, %u is next",
				   check->next_weight_gradient - 1);
}

static bool check_send_gradient(struct check *check, uint32_t b, struct error *error)
{
	if (check->first)
		return error_set(error, ERROR_USAGE, "the first stage has no stage before it");
	check->gradient_unsent = NOBODY;
	return mark(check, b, GRADIENT_SENT, INPUT_GRADIENT_DONE, error);
}

static bool check_reduce(struct check *check, uint32_t b, struct error *error)
{
	if (b != 0)
		return error_set(error, ERROR_USAGE, "its micro-batch must be 0");
	if (check->reduced)
		return error_set(error, ERROR_USAGE, "duplicate instruction");
	if (check->next_weight_gradient != check->micro_batches)
		return error_set(error, ERROR_USAGE, "%u of %u micro-batches have no backward pass before it",
				 check->micro_batches - check->next_weight_gradient, check->micro_batches);
	check->reduced = true;
	return true;
}

static bool check_optimizer_step(struct check *check, uint32_t b, struct error *error)
{
	if (b != 0)
		return error_set(error, ERROR_USAGE, "its micro-batch must be 0");
	if (!check->reduced)
		return error_set(error, ERROR_USAGE, "no reduce_gradients precedes it");
	check->stepped = true;
	return true;
}

static bool check_instruction(struct check *check, struct instruction instruction, struct error *error)
{
	uint32_t b = instruction.micro_batch;
	if (b >= check->micro_batches)
		return error_set(error, ERROR_USAGE, "a step has %u micro-batches", check->micro_batches);
	if (check->stepped)
		return error_set(error, ERROR_USAGE, "it comes after optimizer_step, which ends the list");
	switch (instruction.kind) {
	case INSTRUCTION_LOAD_INPUT:
		return check_load(check, b, error);
	case INSTRUCTION_FORWARD:
		return check_forward(check, b, error);
	case INSTRUCTION_BACKWARD:
		return check_backward_input(check, b, error) && check_backward_weight(check, b, error);
	case INSTRUCTION_BACKWARD_INPUT:
		return check_backward_input(check, b, error);
	case INSTRUCTION_BACKWARD_WEIGHT:
		return check_backward_weight(check, b, error);
	case INSTRUCTION_SEND_ACTIVATION:
		return check_send_activation(check, b, error);
	case INSTRUCTION_RECV_ACTIVATION:
		return check_receive_activation(check, b, error);
	case INSTRUCTION_SEND_GRADIENT:
		return check_send_gradient(check, b, error);
	case INSTRUCTION_RECV_GRADIENT:
		return check_receive_gradient(check, b, error);
	case INSTRUCTION_REDUCE_GRADIENTS:
		return check_reduce(check, b, error);
	case INSTRUCTION_OPTIMIZER_STEP:
		return check_optimizer_step(check, b, error);
	}
	return error_set(error, ERROR_USAGE, "unknown instruction kind %u", (unsigned)instruction.kind);
}

// Backwards imply all that comes before them, and reduce_gradients implies every backward; sends are left.
static bool check_end(const struct check *check, struct error *error)
{
	if (!check->stepped)
		return error_set(error, ERROR_USAGE, "stage %u: the list does not end with optimizer_step",
				 check->stage);
	for (uint32_t b = 0; b < check->micro_batches && !check->first; b++)
		if ((check->done[b] & GRADIENT_SENT) == 0)
			return error_set(error, ERROR_USAGE, "stage %u: no send_gradient of micro-batch %u",
					 check->stage, b);
	return true;
}

static bool check_list(struct check *check, struct error *error)
{
	for (uint32_t i = 0; i < check->list->count; i++) {
		struct instruction instruction = check->list->instructions[i];
		if (!check_instruction(check, instruction, error))
			return error_wrap(error, "stage %u, instruction %u, %s of micro-batch %u", check->stage, i,
					  instruction_name(instruction.kind), instruction.micro_batch);
	}
	return check_end(check, error);
}

bool schedule_check_stage(const struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches,
			  struct error *error)
{
	if (stages < 1 || stages > SCHEDULE_MAXIMUM_STAGES || stage >= stages)
		return error_set(error, ERROR_USAGE,
				 "stage %u of %u: there must be from 1 to %d stages, numbered from 0", stage, stages,
				 SCHEDULE_MAXIMUM_STAGES);
	if (micro_batches < 1 || micro_batches > SCHEDULE_MAXIMUM_MICRO_BATCHES)
		return error_set(error, ERROR_USAGE, "%u micro-batches in a step: the number must be from 1 to %d",
				 micro_batches, SCHEDULE_MAXIMUM_MICRO_BATCHES);
	if (list->slots < 1 || list->slots > micro_batches)
		return error_set(error, ERROR_USAGE,
				 "stage %u: %u slots for %u micro-batches: the number must be from 1 to the number of "
				 "micro-batches",
				 stage, list->slots, micro_batches);
	struct check check = {
		.list = list,
		.stage = stage,
		.stages = stages,
		.micro_batches = micro_batches,
		.first = stage == 0,
		.last = stage + 1 == stages,
		.done = calloc(micro_batches, sizeof(*check.done)),
		.slot_owner = calloc(list->slots, sizeof(*check.slot_owner)),
		.gradient_held = NOBODY,
		.gradient_unsent = NOBODY,
	};
	bool ok = check.done != NULL && check.slot_owner != NULL;
	if (!ok)
		error_set(error, ERROR_FAILED, "no memory to check a schedule");
	for (uint32_t slot = 0; ok && slot < list->slots; slot++)
		check.slot_owner[slot] = NOBODY;
	ok = ok && check_list(&check, error);
	free(check.done);
	free(check.slot_owner);
	return ok;
}
