// What session.c (the lease), reply.c (what it answers) and inbound.c (streams from neighbours) share.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/rpc/protocol.h"
#include "penstock/v1/stage_server.pb-c.h"
#include "stage_server/executor/executor.h"
#include "stage_server/session/session.h"

enum session_state {
	SESSION_ARRIVED, // a stream without Open; only Open is taken
	SESSION_OPENING, // the executor plans, allocates and draws; nothing is taken but Close
	SESSION_OPENED,  // parameters may be loaded; waits for Connect
	SESSION_LINKING, // waits for both links; parameters may still be loaded
	SESSION_READY,   // steps run
	SESSION_CLOSING, // Close came: the executor finishes what it was ordered
	SESSION_ENDED,   // waits for stream, executor and links to be over
};

struct session {
	struct session *next;
	struct session_host *host;
	struct rpc_stream *stream; // our reference
	enum session_state state;
	char job[64];
	struct stage_plan plan;
	bool has_plan;
	uint8_t token[PROTOCOL_TOKEN_BYTES];
	bool has_token;
	char next_address[256];

	struct executor *executor; // also under `lock`
	bool opened, stream_over, executor_over;
	struct error close_error; // why it ended; code NONE: in good order
	bool link_ready[NEIGHBOUR_COUNT], link_over[NEIGHBOUR_COUNT];
	uint64_t ended_ns, heartbeat_ns;

	_Atomic(uint64_t) heard_ns; // from the coordinator
	struct memory_use memory;   // written by the executor before `opened`
	_Atomic(uint64_t) reserved_bytes, exchange_bytes;
	pthread_mutex_t lock;
	struct executor *data_executor; // for gRPC's threads: set while data may come
};

struct inbound;

struct session_host {
	struct session_host_options options;
	struct session *sessions;
	uint32_t count;
	struct inbound *inbound;
	uint32_t unadopted;
	bool draining;
	struct metric *sessions_gauge, *sessions_total;
};

void session_count_error(struct session_host *host, enum error_code code);
// Ends the session: tells the coordinator (error NULL or NONE: Closed), stops the executor and the links.
void session_end(struct session *session, const struct error *error, bool lost, enum neighbour neighbour);
struct session *session_find_token(struct session_host *host, const uint8_t *token);

// inbound.c
void inbound_tick(struct session_host *host, uint64_t now_ns);

// reply.c: SessionResponses. Any thread.
void reply_opened(struct session *session, uint64_t parameters);
void reply_loaded(struct session *session, const struct parameter *parameter);
void reply_ready(struct session *session);
void reply_heartbeat(struct session *session);
void reply_closed(struct session *session);
void reply_failed(struct session *session, const struct error *error, uint64_t step, bool lost, uint32_t peer_stage);
void reply_step(struct session *session, const struct step_report *report);
void reply_norms(struct session *session, uint64_t step, uint32_t first, const double *squares, uint32_t count);
void reply_parameter(struct session *session, const struct parameter *parameter, struct buffer *values,
		     uint64_t offset_bytes, uint64_t size_bytes);
void reply_saved(struct session *session, uint32_t parameters);
