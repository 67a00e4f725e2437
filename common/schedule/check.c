// The checker: first what each stage's list shows alone, then a run of all lists together, in which nothing takes time.
//
// Receiving blocks until the tensor was sent; sending never blocks, because a stage's pool holds every tensor that it can
// have on its way. Credits only delay: tensors are delivered in the order in which they were sent, receivers take them in
// that order (anything else is refused), so whenever a receiver waits its mailbox is empty and has room. Instructions
// are thus only ever enabled by others, never disabled, and one order of running them is as good as any: if that run ends,
// every run does, and if it stands still, every run would.
#include <stdlib.h>
#include <string.h>

#include "common/schedule/schedule.h"

// What has happened to a micro-batch in a stage.
enum {
	DONE_LOAD = 1 << 0,
	DONE_RECV_ACTIVATION = 1 << 1,
	DONE_FORWARD = 1 << 2,
	DONE_SEND_ACTIVATION = 1 << 3,
	DONE_RECV_GRADIENT = 1 << 4,
	DONE_BACKWARD_INPUT = 1 << 5,
	DONE_BACKWARD_WEIGHT = 1 << 6,
	DONE_SEND_GRADIENT = 1 << 7,
};

struct place {
	bool first, last;
};

static uint32_t effect_of(enum instruction_kind kind)
{
	switch (kind) {
	case INSTRUCTION_LOAD_INPUT:
		return DONE_LOAD;
	case INSTRUCTION_RECV_ACTIVATION:
		return DONE_RECV_ACTIVATION;
	case INSTRUCTION_FORWARD:
		return DONE_FORWARD;
	case INSTRUCTION_SEND_ACTIVATION:
		return DONE_SEND_ACTIVATION;
	case INSTRUCTION_RECV_GRADIENT:
		return DONE_RECV_GRADIENT;
	case INSTRUCTION_BACKWARD:
		return DONE_BACKWARD_INPUT | DONE_BACKWARD_WEIGHT;
	case INSTRUCTION_BACKWARD_INPUT:
		return DONE_BACKWARD_INPUT;
	case INSTRUCTION_BACKWARD_WEIGHT:
		return DONE_BACKWARD_WEIGHT;
	case INSTRUCTION_SEND_GRADIENT:
		return DONE_SEND_GRADIENT;
	case INSTRUCTION_REDUCE_GRADIENTS:
	case INSTRUCTION_OPTIMIZER_STEP:
		break;
	}
	return 0;
}

// What must have happened before an effect, in the same stage and micro-batch.
static uint32_t needs_of(enum instruction_kind kind, struct place place)
{
	uint32_t input = (place.first || place.last ? DONE_LOAD : 0) | (place.first ? 0 : DONE_RECV_ACTIVATION);
	switch (kind) {
	case INSTRUCTION_FORWARD:
		return input;
	case INSTRUCTION_SEND_ACTIVATION:
	case INSTRUCTION_RECV_GRADIENT:
		return DONE_FORWARD;
	case INSTRUCTION_BACKWARD:
	case INSTRUCTION_BACKWARD_INPUT:
		return DONE_FORWARD | (place.last ? 0 : DONE_RECV_GRADIENT | DONE_SEND_ACTIVATION);
	case INSTRUCTION_BACKWARD_WEIGHT:
	case INSTRUCTION_SEND_GRADIENT:
		return DONE_BACKWARD_INPUT;
	default:
		return 0;
	}
}

static uint32_t whole_of(struct place place)
{
	return DONE_FORWARD | DONE_BACKWARD_INPUT | DONE_BACKWARD_WEIGHT | (place.first || place.last ? DONE_LOAD : 0) |
	       (place.first ? 0 : DONE_RECV_ACTIVATION | DONE_SEND_GRADIENT) |
	       (place.last ? 0 : DONE_SEND_ACTIVATION | DONE_RECV_GRADIENT);
}

static bool refuse(const struct instruction *instruction, uint32_t index, const char *why, struct error *error)
{
	return error_set(error, ERROR_USAGE, "instruction %u, %s of micro-batch %u: %s", index,
			 instruction_name(instruction->kind), instruction->micro_batch, why);
}

// One stage's list while it is walked.
struct walk {
	struct place place;
	uint32_t micro_batches, slots;
	uint32_t *done;     // [micro_batches]
	uint32_t *holder;   // [slots]: 1 + the micro-batch that lives there; 0: none
	uint32_t backwards; // so far: they run in order
	bool reduced, stepped;
};

static bool take_slot(struct walk *walk, const struct instruction *instruction, uint32_t index, struct error *error)
{
	uint32_t *holder = &walk->holder[instruction->micro_batch % walk->slots];
	if (*holder != 0 && *holder != instruction->micro_batch + 1)
		return refuse(instruction, index, "its slot still holds an earlier micro-batch", error);
	*holder = instruction->micro_batch + 1;
	return true;
}

static bool walk_one(struct walk *walk, const struct instruction *instruction, uint32_t index, struct error *error)
{
	enum instruction_kind kind = instruction->kind;
	if (walk->stepped)
		return refuse(instruction, index, "comes after the optimizer's step", error);
	if (kind == INSTRUCTION_REDUCE_GRADIENTS || kind == INSTRUCTION_OPTIMIZER_STEP) {
		bool in_place = walk->backwards == walk->micro_batches && walk->reduced == (kind == INSTRUCTION_OPTIMIZER_STEP);
		walk->reduced = true;
		walk->stepped = kind == INSTRUCTION_OPTIMIZER_STEP;
		return in_place || refuse(instruction, index, "is out of its place at the end of the step", error);
	}
	uint32_t effect = effect_of(kind);
	if (effect == 0)
		return refuse(instruction, index, "is no instruction", error);
	if (instruction->micro_batch >= walk->micro_batches)
		return refuse(instruction, index, "there is no such micro-batch", error);
	uint32_t *done = &walk->done[instruction->micro_batch];
	if ((effect & whole_of(walk->place)) != effect)
		return refuse(instruction, index, "this stage has nothing to do with it", error);
	if ((*done & effect) != 0)
		return refuse(instruction, index, "was done already", error);
	if ((*done & needs_of(kind, walk->place)) != needs_of(kind, walk->place))
		return refuse(instruction, index, "something that it needs has not been done", error);
	if ((kind == INSTRUCTION_LOAD_INPUT || kind == INSTRUCTION_RECV_ACTIVATION || kind == INSTRUCTION_FORWARD) &&
	    !take_slot(walk, instruction, index, error))
		return false;
	*done |= effect;
	if (effect & DONE_BACKWARD_WEIGHT) { // gradients are summed in this order
		if (instruction->micro_batch != walk->backwards)
			return refuse(instruction, index, "backward passes must run in the order of the micro-batches", error);
		walk->backwards++;
		walk->holder[instruction->micro_batch % walk->slots] = 0;
	}
	return true;
}

bool schedule_check_stage(const struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches,
			  struct error *error)
{
	struct walk walk = {.place = {.first = stage == 0, .last = stage + 1 == stages},
			    .micro_batches = micro_batches,
			    .slots = list->slots};
	if (list->slots < 1 || list->slots > micro_batches)
		return error_set(error, ERROR_USAGE, "stage %u has %u slots, must have from 1 to %u", stage, list->slots,
				 micro_batches);
	walk.done = calloc(micro_batches, sizeof(*walk.done));
	walk.holder = calloc(list->slots, sizeof(*walk.holder));
	bool ok = (walk.done != NULL && walk.holder != NULL) || error_set(error, ERROR_FAILED, "no memory for a check");
	for (uint32_t i = 0; i < list->count && ok; i++)
		ok = walk_one(&walk, &list->instructions[i], i, error);
	for (uint32_t b = 0; b < micro_batches && ok; b++)
		ok = walk.done[b] == whole_of(walk.place) ||
		     error_set(error, ERROR_USAGE, "micro-batch %u is not finished at the step's end", b);
	if (ok && !walk.stepped)
		ok = error_set(error, ERROR_USAGE, "the list does not end with reduce_gradients and optimizer_step");
	free(walk.done);
	free(walk.holder);
	return ok || error_wrap(error, "schedule of stage %u", stage);
}

// ---- All stages together

uint32_t schedule_receive_depth(uint32_t slots)
{
	return slots < SCHEDULE_MAXIMUM_RECEIVE_DEPTH ? slots : SCHEDULE_MAXIMUM_RECEIVE_DEPTH;
}

// One direction of a boundary: the order in which tensors are sent, and how far each side is.
struct lane {
	uint32_t *sent; // [micro_batches] in their order
	uint32_t sent_count, received_count;
};

struct together {
	const struct schedule *schedule;
	uint32_t next[SCHEDULE_MAXIMUM_STAGES];         // instruction
	struct lane forward[SCHEDULE_MAXIMUM_STAGES];   // from stage s to s + 1
	struct lane backward[SCHEDULE_MAXIMUM_STAGES];  // from stage s to s - 1
};

enum advance { ADVANCE_DONE, ADVANCE_BLOCKED, ADVANCE_WRONG };

static enum advance receive(struct lane *lane, uint32_t micro_batch)
{
	if (lane->received_count == lane->sent_count)
		return ADVANCE_BLOCKED;
	if (lane->sent[lane->received_count] != micro_batch)
		return ADVANCE_WRONG;
	lane->received_count++;
	return ADVANCE_DONE;
}

static enum advance advance(struct together *together, uint32_t stage)
{
	const struct instruction *instruction =
		&together->schedule->stage[stage].instructions[together->next[stage]];
	switch (instruction->kind) {
	case INSTRUCTION_SEND_ACTIVATION:
		together->forward[stage].sent[together->forward[stage].sent_count++] = instruction->micro_batch;
		return ADVANCE_DONE;
	case INSTRUCTION_SEND_GRADIENT:
		together->backward[stage].sent[together->backward[stage].sent_count++] = instruction->micro_batch;
		return ADVANCE_DONE;
	case INSTRUCTION_RECV_ACTIVATION:
		return receive(&together->forward[stage - 1], instruction->micro_batch);
	case INSTRUCTION_RECV_GRADIENT:
		return receive(&together->backward[stage + 1], instruction->micro_batch);
	default:
		return ADVANCE_DONE;
	}
}

static bool refuse_run(const struct together *together, uint32_t stage, enum advance how, struct error *error)
{
	uint32_t index = together->next[stage];
	refuse(&together->schedule->stage[stage].instructions[index], index,
	       how == ADVANCE_WRONG ? "the neighbour sends another micro-batch first" : "waits for ever: a deadlock", error);
	return error_wrap(error, "schedule of stage %u", stage);
}

// Runs every stage as far as it goes, until nothing moves.
static bool run_together(struct together *together, struct error *error)
{
	const struct schedule *schedule = together->schedule;
	bool moved = true;
	while (moved) {
		moved = false;
		for (uint32_t s = 0; s < schedule->stages; s++)
			while (together->next[s] < schedule->stage[s].count) {
				enum advance how = advance(together, s);
				if (how == ADVANCE_WRONG)
					return refuse_run(together, s, how, error);
				if (how == ADVANCE_BLOCKED)
					break;
				together->next[s]++;
				moved = true;
			}
	}
	for (uint32_t s = 0; s < schedule->stages; s++)
		if (together->next[s] < schedule->stage[s].count)
			return refuse_run(together, s, ADVANCE_BLOCKED, error);
	return true;
}

bool schedule_check(const struct schedule *schedule, struct error *error)
{
	for (uint32_t s = 0; s < schedule->stages; s++)
		if (!schedule_check_stage(&schedule->stage[s], s, schedule->stages, schedule->micro_batches, error))
			return false;
	struct together *together = calloc(1, sizeof(*together));
	uint32_t *orders = calloc((size_t)2 * schedule->stages * schedule->micro_batches, sizeof(*orders));
	bool ok = (together != NULL && orders != NULL) || error_set(error, ERROR_FAILED, "no memory for a check");
	if (ok) {
		together->schedule = schedule;
		for (uint32_t s = 0; s < schedule->stages; s++) {
			together->forward[s].sent = orders + (size_t)2 * s * schedule->micro_batches;
			together->backward[s].sent = together->forward[s].sent + schedule->micro_batches;
		}
		ok = run_together(together, error);
	}
	free(together);
	free(orders);
	return ok;
}
