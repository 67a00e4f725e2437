// What a daemon is and does: its devices, and the stages that it runs. Plain data: texts and arrays are borrowed. Any thread.
#pragma once

#include <stdint.h>

#include "common/job/tensor.h"
#include "common/metrics/phases.h"

struct node_device {      // a slot of the daemon; its index in the list is stage_spec.device_index
	const char *name; // "cpu", "cuda:0"; two slots may name the same device
	uint32_t threads;
	uint64_t memory_limit_bytes, memory_used_bytes; // the cap, and what running sessions have reserved of it
	const char *group; // how replicas on such devices sum gradients among themselves: "nccl"; "": they do not
};

// What a stage has counted since its session began.
struct stage_counters {
	// Of steps done. `counted_ns` is the daemon's clock when the last of them ended; 0: none has.
	uint64_t counted_ns, steps, samples;
	uint64_t phase_ns[PHASE_COUNT];
	// Of all steps, the one that runs included. NULL: there is no such neighbour.
	const struct link_traffic *previous, *next, *previous_replica, *next_replica;
};

struct running_stage {
	const char *job, *model;
	uint32_t pipeline_stage, replica;
	uint32_t device_index; // of node_description.devices
	uint64_t step;         // the last step begun
	uint64_t memory_bytes;
	uint64_t began_ns; // the daemon's clock when the session began: tells two sessions of one name apart
	const struct stage_counters *counters; // NULL until the stage has its memory
};

struct node_description {
	const char *version; // of the program
	uint32_t protocol_version;
	const struct node_device *devices;
	uint32_t device_count;
	const struct running_stage *running;
	uint32_t running_count;
	uint32_t maximum_sessions;
	uint64_t uptime_seconds;
	uint64_t clock_ns; // the daemon's own clock at this answer, from no fixed beginning
};
