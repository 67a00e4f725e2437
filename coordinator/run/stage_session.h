// The coordinator's end of one Session: what it asks of a stage, and the events that come back, which all ranks of a
// job put into one queue.
//
// Threads: everything belongs to the job's thread, except that gRPC's threads fill the queue, and that
// stage_session_heartbeat may be called from any.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/rpc/rpc.h"
#include "common/wire/request.h"
#include "coordinator/run/stage_events.h"

struct stage_session_options {
	uint32_t rank;
	const char *address;
	struct rpc_tls *tls; // NULL: without
	struct stage_events *events;
};

// Where a stage opens its links to, and what it shows there.
struct stage_session_next {
	const char *address;  // NULL: there is none
	const uint8_t *token; // [PROTOCOL_TOKEN_BYTES]
};

struct stage_session;

// Starts the call; whether somebody is there comes as an event.
bool stage_session_create(const struct stage_session_options *options, struct stage_session **ret_session,
			  struct error *error);
// Cancels the call and waits until it is over. Takes NULL.
void stage_session_destroy(struct stage_session *session);
// When anything came from the stage; now, while we do not listen to it.
uint64_t stage_session_heard_ns(struct stage_session *session);

// What a stage shows of its work.
struct stage_movement {
	uint64_t
		moved_ns; // when it last sent something else than a heartbeat, or one with more instructions; at first, when the call began
	uint64_t
		device_ns; // how long its device had been with one instruction, at the last heartbeat; 0: the stage waits
	bool is_heard;     // anything has come
	uint64_t begun_ns; // the call
};
void stage_session_movement(struct stage_session *session, struct stage_movement *ret_movement);

// After a SavedParameter: the daemon is held back until then, so that no queue of chunks grows.
void stage_session_resume(struct stage_session *session);

void stage_session_open(struct stage_session *session, const struct open_order *open);
// `group_id`: [PROTOCOL_GROUP_ID_BYTES], NULL: none.
void stage_session_connect(struct stage_session *session, const struct stage_session_next *next_stage,
			   const struct stage_session_next *next_replica, const uint8_t *group_id);
void stage_session_kernel_answers(struct stage_session *session, const struct kernel_answers *answers);
void stage_session_time_kernels(struct stage_session *session, const struct kernel_keys *keys);
void stage_session_load(struct stage_session *session, const struct parameter_chunk *chunk, struct buffer *values,
			size_t size);
void stage_session_run_step(struct stage_session *session, const struct step_order *order);
// Takes `data`.
void stage_session_batch(struct stage_session *session, const struct batch *batch, struct buffer *data);
void stage_session_gradient_scale(struct stage_session *session, const struct gradient_answer *answer);
void stage_session_save(struct stage_session *session);
void stage_session_close(struct stage_session *session);
void stage_session_heartbeat(struct stage_session *session);
