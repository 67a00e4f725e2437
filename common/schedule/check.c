// Proves a whole schedule: every stage's own list first (check_stage.c), then all of them together by running
// them with tensors that take no time. An instruction's effects do not depend on when it runs, so what one
// run shows, deadlock and the order of tensors on a boundary, holds for every run (the lists are a Kahn
// network with bounded channels).
//
// A boundary, per direction: the sender's pool has as many buffers as the stage before the boundary has
// slots, the receiver takes up to schedule_receive_depth unread tensors. A tensor waits in the pool until the
// receiver has room (credits).
#include <inttypes.h>
#include <stdlib.h>

#include "common/schedule/schedule.h"

// Tensors on their way over a boundary in one direction; a FIFO as long as a step.
struct channel {
	uint32_t *micro_batch;
	uint32_t sent, received;
	uint32_t capacity; // the sender's pool and the receiver's room
};

struct run {
	const struct schedule *schedule;
	struct channel activation[SCHEDULE_MAXIMUM_STAGES]; // [s]: from stage s to stage s + 1
	struct channel gradient[SCHEDULE_MAXIMUM_STAGES];   // [s]: from stage s + 1 to stage s
	uint32_t next[SCHEDULE_MAXIMUM_STAGES];             // instruction that the stage is at
};

enum progress { PROGRESS_DONE, PROGRESS_BLOCKED, PROGRESS_FAILED };

static struct channel *channel_of(struct run *run, uint32_t stage, enum instruction_kind kind)
{
	switch (kind) {
	case INSTRUCTION_SEND_ACTIVATION:
		return &run->activation[stage];
	case INSTRUCTION_RECV_ACTIVATION:
		return &run->activation[stage - 1];
	case INSTRUCTION_SEND_GRADIENT:
		return &run->gradient[stage - 1];
	case INSTRUCTION_RECV_GRADIENT:
		return &run->gradient[stage];
	default:
		return NULL;
	}
}

static enum progress run_one(struct run *run, uint32_t stage, struct error *error)
{
	const struct stage_schedule *list = &run->schedule->stage[stage];
	struct instruction instruction = list->instructions[run->next[stage]];
	struct channel *channel = channel_of(run, stage, instruction.kind);
	if (channel == NULL)
		return PROGRESS_DONE;
	if (instruction.kind == INSTRUCTION_SEND_ACTIVATION || instruction.kind == INSTRUCTION_SEND_GRADIENT) {
		if (channel->sent - channel->received == channel->capacity)
			return PROGRESS_BLOCKED;
		channel->micro_batch[channel->sent++] = instruction.micro_batch;
		return PROGRESS_DONE;
	}
	if (channel->sent == channel->received)
		return PROGRESS_BLOCKED;
	uint32_t head = channel->micro_batch[channel->received++];
	if (head == instruction.micro_batch)
		return PROGRESS_DONE;
	error_set(error, ERROR_USAGE,
		  "stage %u, instruction %u, %s of micro-batch %u: its neighbour sends micro-batch %u next", stage,
		  run->next[stage], instruction_name(instruction.kind), instruction.micro_batch, head);
	return PROGRESS_FAILED;
}

// Names the first stage that waits: it says which tensor never comes, or never leaves.
static bool report_deadlock(const struct run *run, struct error *error)
{
	for (uint32_t s = 0; s < run->schedule->stages; s++) {
		const struct stage_schedule *list = &run->schedule->stage[s];
		if (run->next[s] == list->count)
			continue;
		struct instruction instruction = list->instructions[run->next[s]];
		return error_set(error, ERROR_USAGE,
				 "stage %u, instruction %u, %s of micro-batch %u: deadlock: it waits forever", s,
				 run->next[s], instruction_name(instruction.kind), instruction.micro_batch);
	}
	return true;
}

static bool run_all(struct run *run, struct error *error)
{
	bool moved = true;
	while (moved) {
		moved = false;
		for (uint32_t s = 0; s < run->schedule->stages; s++) {
			while (run->next[s] < run->schedule->stage[s].count) {
				enum progress progress = run_one(run, s, error);
				if (progress == PROGRESS_FAILED)
					return false;
				if (progress == PROGRESS_BLOCKED)
					break;
				run->next[s]++;
				moved = true;
			}
		}
	}
	return report_deadlock(run, error);
}

static bool open_channel(struct channel *channel, uint32_t micro_batches, uint32_t pool,
			 const struct stage_schedule *receiver)
{
	channel->capacity = pool + schedule_receive_depth(receiver);
	channel->micro_batch = calloc(micro_batches, sizeof(*channel->micro_batch));
	return channel->micro_batch != NULL;
}

bool schedule_check(const struct schedule *schedule, struct error *error)
{
	if (schedule->stages < 1 || schedule->stages > SCHEDULE_MAXIMUM_STAGES)
		return error_set(error, ERROR_USAGE, "%u stages: the number must be from 1 to %d", schedule->stages,
				 SCHEDULE_MAXIMUM_STAGES);
	for (uint32_t s = 0; s < schedule->stages; s++)
		if (!schedule_check_stage(&schedule->stage[s], s, schedule->stages, schedule->micro_batches, error))
			return false;
	struct run *run = calloc(1, sizeof(*run));
	bool ok = run != NULL;
	if (ok)
		run->schedule = schedule;
	for (uint32_t s = 0; ok && s + 1 < schedule->stages; s++) {
		const struct stage_schedule *here = &schedule->stage[s], *next = &schedule->stage[s + 1];
		ok = open_channel(&run->activation[s], schedule->micro_batches, here->slots, next) &&
		     open_channel(&run->gradient[s], schedule->micro_batches, here->slots, here);
	}
	if (!ok)
		error_set(error, ERROR_FAILED, "no memory to check a schedule");
	ok = ok && run_all(run, error);
	for (uint32_t s = 0; run != NULL && s + 1 < schedule->stages; s++) {
		free(run->activation[s].micro_batch);
		free(run->gradient[s].micro_batch);
	}
	free(run);
	return ok;
}
