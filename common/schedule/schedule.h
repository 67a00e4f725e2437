// A schedule is data: for each stage the list of instructions of one step. Generators, one file each, stand in one
// table; the checker proves a list sound before anybody runs it. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
	SCHEDULE_MAXIMUM_STAGES = 64,
	SCHEDULE_MAXIMUM_MICRO_BATCHES = 4096,
	SCHEDULE_MAXIMUM_RECEIVE_DEPTH = 4, // enough to have the next tensor there when it is wanted
};

// Values are those of penstock.v1.InstructionKind.
enum instruction_kind {
	INSTRUCTION_LOAD_INPUT = 1, // the coordinator's images (first stage) or labels (last) of a micro-batch
	INSTRUCTION_FORWARD = 2,
	INSTRUCTION_BACKWARD = 3, // both halves
	INSTRUCTION_BACKWARD_INPUT = 4,
	INSTRUCTION_BACKWARD_WEIGHT = 5,
	INSTRUCTION_SEND_ACTIVATION = 6,
	INSTRUCTION_RECV_ACTIVATION = 7,
	INSTRUCTION_SEND_GRADIENT = 8,
	INSTRUCTION_RECV_GRADIENT = 9,
	INSTRUCTION_REDUCE_GRADIENTS = 10, // over replicas; over all stages for the clipping norm
	INSTRUCTION_OPTIMIZER_STEP = 11,
};

struct instruction {
	enum instruction_kind kind;
	uint32_t micro_batch; // 0 for reduce_gradients and optimizer_step
};

struct stage_schedule {
	struct instruction *instructions;
	uint32_t count;
	uint32_t slots; // activations alive at once: micro-batch b uses slot b % slots
};

struct schedule {
	char name[16];
	uint32_t stages, micro_batches;
	struct stage_schedule stage[SCHEDULE_MAXIMUM_STAGES];
};

// `name` is "gpipe" or "1f1b", in any case. Backwards run in the order 0 .. m-1 in every schedule, so that gradients are summed in
// the same order whatever the schedule. `in_flight`: micro-batches that may be alive in a stage at once, 0: as many as the
// schedule wants; ERROR_USAGE where it cannot do with so few. The result has passed schedule_check. Returns owned.
bool schedule_create(const char *name, uint32_t stages, uint32_t micro_batches, uint32_t in_flight,
		     struct schedule **ret_schedule, struct error *error);
void schedule_destroy(struct schedule *schedule); // takes NULL
const char *schedule_names(void);
// The schedule's own spelling of a name in upper or lower case; NULL with ERROR_USAGE: no such schedule.
const char *schedule_find(const char *name, struct error *error);
const char *instruction_name(enum instruction_kind kind); // "forward", "send_activation", ...

// Tensors that the stage may have unread from each neighbour.
uint32_t schedule_receive_depth(const struct stage_schedule *list);

// Proves the whole: every receive has its send, in the same order; no deadlock when at most schedule_receive_depth tensors
// are unread on each side of a boundary and at most as many wait at their sender as the stage before it has slots; each
// backward follows its forward and each forward its input, each micro-batch exactly once; slots are not reused while
// alive. ERROR_USAGE names stage, instruction and micro-batch.
bool schedule_check(const struct schedule *schedule, struct error *error);
// The part of it that one stage can prove of its own list, for a daemon that was handed one.
bool schedule_check_stage(const struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches,
			  struct error *error);
