// The plan: which layers each stage holds, which schedule they run and what memory that needs, computed from the model
// alone. It prints itself, and fills what each stage's daemon is told. Not here: running it (run/).
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/job/stage.h"
#include "common/model/data_type.h"
#include "common/model/model.h"
#include "common/model/optimizer.h"
#include "common/schedule/schedule.h"
#include "coordinator/plan/partition.h"

enum { PLAN_MAXIMUM_RANKS = 1024 }; // stages of all replicas together

// Whose memory is planned: devices lay different things beside the tensors of the model.
enum plan_device { PLAN_DEVICE_CPU, PLAN_DEVICE_CUDA };

struct plan_options {
	const char *partition_method;             // "flops", "memory", "uniform", "parameters", "type:REGEX"
	const char *split;                        // "3,8": first layers of stages 1, 2, ...; NULL: by partition_method
	const char *schedule;                     // "gpipe", "1f1b"
	uint32_t pipeline_size;                   // p, from 1
	uint32_t data_parallel_size;              // d, from 1 to PROTOCOL_MAXIMUM_REPLICAS: replicas of the pipeline
	uint32_t micro_batch_size, micro_batches; // the second: per step and replica
	uint32_t in_flight;                       // micro-batches alive in a stage at once, at most; 0: the schedule's
	uint64_t reduce_bucket_bytes;             // of gradients that are summed at once over the replicas
	struct optimizer optimizer;
	bool gradient_clipping;
	enum data_type compute_type;  // of activations and their gradients; float16 means loss scaling
	enum data_type boundary_type; // of what crosses a boundary
	bool allow_tf32;
	float initial_loss_scale; // with float16
	enum plan_device device;
	uint64_t memory_limit_bytes;  // of each device; 0: none is known
	uint32_t checkpoint_interval; // layers between kept activations, at most those of the model; 0: all are kept
	uint64_t seed;
	uint32_t raw_image_size;
	float mean[3], standard_deviation[3];
};

struct plan_stage { // of every replica
	uint32_t first_layer, end_layer;
	uint64_t parameters;                // elements
	uint64_t flops;                     // per sample, forward and backward
	uint64_t forward_flops;             // of them
	uint64_t input_bytes, output_bytes; // per micro-batch across each boundary; 0 at the ends
	// As a daemon counts them (memory.c): parameter_bytes with the copies in 16 bits; the exchange's are the host's.
	uint64_t parameter_bytes, gradient_bytes, optimizer_bytes, stash_bytes, workspace_bytes, exchange_bytes;
	uint64_t memory_bytes; // of the device: their sum; of a GPU without the exchange's
};

struct plan {
	struct model model;
	// Strings are copied and owned by the plan; the interval is cut to the model's layers.
	struct plan_options options;
	struct schedule *schedule;
	struct plan_stage stages[SCHEDULE_MAXIMUM_STAGES];
	double ideal_bubble; // (p - 1) / (m + p - 1) of equal stages
	// Predicted (simulate.h) from the FLOPs of the stages, which are computed at one speed, and tensors that take no time:
	double bubble;
	double step_flops; // the step's time, in FLOPs per sample that one stage computes meanwhile
	double cost; // that over the same without limits, checkpoints and with all in flight; of a cut by flops for "memory"
	bool cut_differs; // from the cut without limits
	double balance;   // mean stage FLOPs over the largest
};

// Where a stage is held.
struct plan_place {
	uint32_t device;                                       // of the daemon's device slots
	bool previous_is_local, next_is_local;                 // the neighbouring stage is held by the same daemon
	bool previous_replica_is_local, next_replica_is_local; // so is that replica of the stage
	bool reduce_in_group;                                  // the replicas' devices sum among themselves
};

// The ranks of a job, as DeepSpeed's grid numbers them (PipeDataParallelTopology): the replicas of a stage are neighbours.
static inline uint32_t plan_rank_count(const struct plan *plan)
{
	return plan->options.pipeline_size * plan->options.data_parallel_size;
}
static inline uint32_t plan_rank(const struct plan *plan, uint32_t stage, uint32_t replica)
{
	return stage * plan->options.data_parallel_size + replica;
}
static inline uint32_t plan_rank_stage(const struct plan *plan, uint32_t rank)
{
	return rank / plan->options.data_parallel_size;
}
static inline uint32_t plan_rank_replica(const struct plan *plan, uint32_t rank)
{
	return rank % plan->options.data_parallel_size;
}

bool plan_create(const struct model *model, const struct plan_options *options, struct plan **ret_plan,
		 struct error *error);
void plan_destroy(struct plan *plan);                  // takes NULL
uint64_t plan_largest_memory(const struct plan *plan); // of any stage, bytes
// Whether every stage is within options.memory_limit_bytes; so where there is no limit.
bool plan_fits(const struct plan *plan);
// Tensors that a stage may have unread from each neighbour, and on their way to one over the network.
uint32_t plan_receive_depth(const struct plan *plan, uint32_t stage);
uint32_t plan_send_depth(const struct plan *plan, uint32_t stage, bool to_next);
void plan_print(const struct plan *plan, FILE *out); // the tables for people
// Of them those of memory, with whether each stage is within the limit, if there is one.
void plan_print_memory(const struct plan *plan, FILE *out);
// What the stage's daemon is told; `replica` is below data_parallel_size. Borrows the plan's model and instructions.
void plan_stage_spec(const struct plan *plan, uint32_t replica, uint32_t stage, const struct plan_place *place,
		     struct stage_spec *ret_spec);
