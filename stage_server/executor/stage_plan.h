// A stage's part of a plan, as a daemon holds it: taken from what a coordinator sent, and checked to the last field, because whoever
// sent it may be wrong. Pure data. Any thread.
#pragma once

#include "common/job/stage.h"
#include "common/schedule/ring.h"
#include "common/schedule/schedule.h"
#include "stage_server/device/device.h"
#include "stage_server/exchange/mailbox.h"

// Whom a stage exchanges tensors with. The replicas of a stage are a ring: each sends to the next one.
enum neighbour {
	NEIGHBOUR_PREVIOUS, // stage
	NEIGHBOUR_NEXT,
	NEIGHBOUR_PREVIOUS_REPLICA,
	NEIGHBOUR_NEXT_REPLICA,
	NEIGHBOUR_COUNT,
};
const char *neighbour_name(enum neighbour side); // "previous stage", "next replica", ...

struct stage_plan {
	struct model model;
	uint32_t first_layer, end_layer;
	uint32_t replica, data_parallel_size, pipeline_stage, pipeline_size;
	uint32_t micro_batch_size, micro_batches;
	struct stage_schedule schedule; // owns its instructions
	struct optimizer optimizer;
	uint64_t seed;
	bool gradient_clipping;
	enum data_type compute_type, boundary_type;
	bool allow_tf32;
	uint32_t checkpoint_interval;
	bool loss_scaling;
	float initial_loss_scale; // 1 without loss_scaling
	uint32_t raw_image_size;
	float mean[3], standard_deviation[3];
	struct ring ring;     // without buckets where there is nothing to sum, or in a group
	bool reduce_in_group; // the device sums over the replicas, and there is something to sum
	struct {
		bool exists;
		bool local; // held by this daemon
		struct tensor_shape shape;
		enum tensor_kind incoming, outgoing;
		uint32_t receive_depth, send_depth;
		uint32_t tensors_per_step;
		uint32_t *order; // of a stage: [micro_batches] as they are received; owned
	} boundary[NEIGHBOUR_COUNT];
};

// Copies what it needs. ERROR_USAGE, or ERROR_PROTOCOL for what no coordinator of ours writes, names the field.
bool stage_plan_read(const struct stage_spec *spec, struct stage_plan *ret_plan, struct error *error);
void stage_plan_fini(struct stage_plan *plan);

static inline bool stage_plan_is_first(const struct stage_plan *plan)
{
	return plan->pipeline_stage == 0;
}
static inline bool stage_plan_is_last(const struct stage_plan *plan)
{
	return plan->pipeline_stage + 1 == plan->pipeline_size;
}
// Whether the stage's gradients are judged by the coordinator before the optimizer's step. Replica 0 sends their norms.
static inline bool stage_plan_awaits_answer(const struct stage_plan *plan)
{
	return plan->gradient_clipping || plan->loss_scaling;
}
// The neighbour's place in the job.
uint32_t stage_plan_peer_stage(const struct stage_plan *plan, enum neighbour side);
uint32_t stage_plan_peer_replica(const struct stage_plan *plan, enum neighbour side);
// Points in a step's work at which the device is asked for the time.
enum mark {
	MARK_FORWARD_BEGIN,
	MARK_FORWARD_END,
	MARK_BACKWARD_BEGIN,
	MARK_BACKWARD_END,
	MARK_REDUCE_BEGIN, // from here on one a step
	MARK_REDUCE_END,
	MARK_OPTIMIZER_BEGIN,
	MARK_OPTIMIZER_END,
	MARK_COUNT
};
// The mark's number; those of the whole step have one micro-batch, 0.
static inline uint32_t stage_plan_mark(const struct stage_plan *plan, enum mark mark, uint32_t micro_batch)
{
	return mark < MARK_REDUCE_BEGIN ? micro_batch * MARK_REDUCE_BEGIN + mark
					: plan->micro_batches * MARK_REDUCE_BEGIN + mark - MARK_REDUCE_BEGIN;
}
uint64_t stage_plan_image_bytes(const struct stage_plan *plan);                             // of a micro-batch
void stage_plan_program_spec(const struct stage_plan *plan, struct program_spec *ret_spec); // borrows the plan
