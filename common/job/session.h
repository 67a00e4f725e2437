// How a session on a daemon begins and shows that it lives. Plain data: texts, bytes and parts are borrowed. Any thread.
#pragma once

#include "common/base/error.h"
#include "common/job/bytes.h"
#include "common/job/memory.h"
#include "common/job/stage.h"

struct open_order {
	uint32_t protocol_version;
	const char *job;               // for people
	const struct stage_spec *plan; // NULL: it is missing, or plan_error says what is wrong with it
	const struct error *plan_error;
	struct byte_span link_token; // what the previous stage shows to open its links here; empty on stage 0
	uint32_t connections;        // per boundary: channels over which chunks are striped
	uint32_t chunk_bytes;
	struct byte_span replica_token; // what the previous replica of this stage shows; empty without replicas
};

struct connect_order {
	const char *next_address; // where stage + 1 listens; "" on the last stage
	struct byte_span next_link_token;
	const char *next_replica_address; // where the ring's next replica of this stage listens; "" without replicas
	struct byte_span next_replica_token;
	struct byte_span group_id; // with reduce_in_group: what replica 0 of the stage said when it had opened
};

struct opened_report { // memory is reserved, parameters are drawn
	const struct stage_memory *memory;
	uint64_t parameters;
	const char *version;       // of the daemon
	struct byte_span group_id; // of replica 0 of a stage that has gradients, with reduce_in_group
};

// From a daemon it says whether the stage moves; from a coordinator it is empty.
struct heartbeat_report {
	uint64_t instructions; // of its steps that the stage has begun so far
	uint64_t
		device_ns; // how long its device has been with one of them; 0: the stage waits for others, or for an order
};
