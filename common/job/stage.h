// One stage of one job, whole: what a daemon needs to build and run it. The coordinator's plan fills it; a daemon checks it
// (stage_server/executor/stage_plan), because whoever sent it may be wrong. Plain data; any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/model/data_type.h"
#include "common/model/model.h"
#include "common/model/optimizer.h"
#include "common/schedule/schedule.h"

struct stage_spec {
	const struct model *model; // borrowed; without shapes where it came from the wire
	uint32_t first_layer, end_layer;
	uint32_t pipeline_stage, pipeline_size;
	uint32_t replica, data_parallel_size;
	uint32_t micro_batch_size;
	uint32_t micro_batches;         // per step and replica
	struct stage_schedule schedule; // its instructions are borrowed
	struct optimizer optimizer;
	uint64_t seed;
	bool gradient_clipping;               // the stage reports its squared gradient norms and waits for the scale
	uint32_t raw_image_size;              // height and width of the images that the coordinator sends
	float mean[3], standard_deviation[3]; // per channel, of images scaled to 0..1
	uint32_t receive_depth_from_previous, receive_depth_from_next; // tensors under way or unread at once
	uint32_t send_depth_to_previous, send_depth_to_next;           // tensors sent or waiting to be sent at once
	uint32_t device_index;                                         // of the daemon's devices
	enum data_type compute_type;                                   // of activations and their gradients
	enum data_type boundary_type;                                  // of what crosses a boundary
	bool allow_tf32;
	uint32_t checkpoint_interval; // 0: every activation is kept for the backward pass
	bool loss_scaling;            // float16: the stage reports its gradient norms, as for clipping
	float initial_loss_scale;     // with loss_scaling: of step 0
	// The neighbour is held by the same daemon: tensors are handed over, and the send depths count what may be unread there, too.
	bool previous_is_local, next_is_local, previous_replica_is_local, next_replica_is_local;
	uint64_t
		reduce_bucket_bytes; // of gradients that are summed at once over the replicas; the same for all of them
	bool reduce_in_group;        // the replicas' devices sum gradients among themselves: there is no ring
};
