// common/schedule's checker: of lists that a generator made and the input damaged, those that pass run to their end, in whatever
// order the stages get their turns and with no more room than the checker promises, and the simulator agrees. What was not damaged
// passes.
#include <math.h>
#include <string.h>

#include "common/schedule/schedule.h"
#include "coordinator/plan/simulate.h"
#include "tests/fuzz/fuzz.h"

enum { MAXIMUM_STAGES = 5, MAXIMUM_MICRO_BATCHES = 8, MAXIMUM_COUNT = 9 * MAXIMUM_MICRO_BATCHES + 4 };

// A boundary's direction: what was sent and not received, oldest first.
struct queue {
	uint32_t tensors[MAXIMUM_COUNT];
	uint32_t count, room;
};

struct run {
	const struct schedule *schedule;
	struct queue activations[MAXIMUM_STAGES], gradients[MAXIMUM_STAGES]; // [s]: between stage s and s + 1
	uint32_t next[MAXIMUM_STAGES];
};

static struct queue *queue_of(struct run *run, uint32_t s, enum instruction_kind kind)
{
	return kind == INSTRUCTION_SEND_ACTIVATION   ? &run->activations[s]
	       : kind == INSTRUCTION_RECV_ACTIVATION ? &run->activations[s - 1]
	       : kind == INSTRUCTION_SEND_GRADIENT   ? &run->gradients[s - 1]
	       : kind == INSTRUCTION_RECV_GRADIENT   ? &run->gradients[s]
						     : NULL;
}

// One instruction of stage s, where it can go on.
static bool advance(struct run *run, uint32_t s)
{
	const struct stage_schedule *list = &run->schedule->stage[s];
	if (run->next[s] == list->count)
		return false;
	struct instruction instruction = list->instructions[run->next[s]];
	struct queue *queue = queue_of(run, s, instruction.kind);
	if (instruction.kind == INSTRUCTION_SEND_ACTIVATION || instruction.kind == INSTRUCTION_SEND_GRADIENT) {
		if (queue->count == queue->room)
			return false;
		queue->tensors[queue->count++] = instruction.micro_batch;
	} else if (queue != NULL) {
		if (queue->count == 0)
			return false;
		DEMAND(queue->tensors[0] == instruction.micro_batch); // in the order in which they were sent
		memmove(queue->tensors, queue->tensors + 1, --queue->count * sizeof(queue->tensors[0]));
	}
	run->next[s]++;
	return true;
}

// `turns` gives the stages' turns while it lasts, then each has one in a row.
static void run_to_the_end(const struct schedule *schedule, struct fuzz_choices turns)
{
	struct run run = {.schedule = schedule};
	for (uint32_t s = 0; s + 1 < schedule->stages; s++) {
		const struct stage_schedule *here = &schedule->stage[s], *next = &schedule->stage[s + 1];
		run.activations[s].room = here->slots + schedule_receive_depth(next);
		run.gradients[s].room = here->slots + schedule_receive_depth(here);
	}
	while (turns.size > 0)
		advance(&run, fuzz_choose_from(&turns, 0, schedule->stages - 1));
	for (bool moved = true; moved;) {
		moved = false;
		for (uint32_t s = 0; s < schedule->stages; s++)
			moved |= advance(&run, s);
	}
	for (uint32_t s = 0; s < schedule->stages; s++)
		DEMAND(run.next[s] == schedule->stage[s].count);
	for (uint32_t s = 0; s + 1 < schedule->stages; s++)
		DEMAND(run.activations[s].count == 0 && run.gradients[s].count == 0);
}

static void simulate_it(const struct schedule *schedule)
{
	struct simulate_stage stages[MAXIMUM_STAGES];
	struct simulate_result result;
	struct error error;
	for (uint32_t s = 0; s < schedule->stages; s++)
		stages[s] = (struct simulate_stage){1.0 + s, 2.0 + s};
	DEMAND(simulate(schedule, stages, &result, &error));
	for (uint32_t s = 0; s < schedule->stages; s++) { // every pass ran
		double passes = schedule->micro_batches * (stages[s].forward + stages[s].backward);
		DEMAND(fabs(result.busy[s] - passes) < 1e-9 && result.step >= result.busy[s]);
	}
	DEMAND(result.bubble >= 0 && result.bubble < 1);
}

static void damage(struct stage_schedule *list, struct fuzz_choices *choices)
{
	struct instruction *at = list->instructions;
	uint32_t i = fuzz_choose_from(choices, 0, list->count - 1), k = fuzz_choose_from(choices, 0, list->count - 1);
	struct instruction moved = at[i];
	switch (fuzz_choose(choices) % 7) {
	case 0: // another place
		memmove(at + i, at + i + 1, (list->count - i - 1) * sizeof(*at));
		memmove(at + k + 1, at + k, (list->count - k - 1) * sizeof(*at));
		at[k] = moved;
		break;
	case 1:
		at[i] = at[k];
		at[k] = moved;
		break;
	case 2: // gone
		memmove(at + i, at + i + 1, (list->count-- - i - 1) * sizeof(*at));
		break;
	case 3: // twice
		if (list->count == MAXIMUM_COUNT)
			break;
		memmove(at + k + 1, at + k, (list->count++ - k) * sizeof(*at));
		at[k] = moved;
		break;
	case 4:
		at[i].kind = (enum instruction_kind)fuzz_choose_from(choices, 0, 12);
		break;
	case 5:
		at[i].micro_batch = fuzz_choose_from(choices, 0, MAXIMUM_MICRO_BATCHES);
		break;
	case 6:
		list->slots = fuzz_choose_from(choices, 0, MAXIMUM_MICRO_BATCHES + 1);
		break;
	}
	if (list->count == 0) // a list has something to choose from
		at[list->count++] = moved;
}

// With room for `damage` to add.
static void make_room(struct schedule *schedule)
{
	for (uint32_t s = 0; s < schedule->stages; s++) {
		struct stage_schedule *list = &schedule->stage[s];
		list->instructions = realloc(list->instructions, (MAXIMUM_COUNT + 1) * sizeof(*list->instructions));
		DEMAND(list->instructions != NULL && list->count < MAXIMUM_COUNT);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_choices choices = {data, size};
	struct schedule *schedule = NULL;
	struct error error;
	const char *name = fuzz_choose(&choices) % 2 == 0 ? "gpipe" : "1f1b";
	uint32_t stages = fuzz_choose_from(&choices, 1, MAXIMUM_STAGES);
	uint32_t micro_batches = fuzz_choose_from(&choices, 1, MAXIMUM_MICRO_BATCHES);
	uint32_t in_flight = fuzz_choose_from(&choices, 0, MAXIMUM_MICRO_BATCHES);
	uint32_t damages = fuzz_choose_from(&choices, 0, 4);
	if (!schedule_create(name, stages, micro_batches, in_flight, &schedule, &error)) {
		DEMAND(error.code == ERROR_USAGE && in_flight > 0);
		return 0;
	}
	make_room(schedule);
	for (uint32_t i = 0; i < damages; i++)
		damage(&schedule->stage[fuzz_choose_from(&choices, 0, stages - 1)], &choices);
	error = (struct error){0};
	if (schedule_check(schedule, &error)) {
		run_to_the_end(schedule, choices);
		simulate_it(schedule);
	} else {
		DEMAND(damages > 0 && error.code == ERROR_USAGE && error.message[0] != '\0');
	}
	schedule_destroy(schedule);
	return 0;
}
