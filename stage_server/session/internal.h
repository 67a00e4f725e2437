// What the files of a session share: host.c (all of a daemon's sessions), session.c (the lease's state machine) with opening.c and linking.c
// (its way to Ready), events.c (what other threads tell it), reply.c (what it answers) and inbound.c (streams from neighbours).
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/lateness.h"
#include "common/base/log.h"
#include "common/rpc/protocol.h"
#include "common/wire/request.h"
#include "stage_server/executor/executor.h"
#include "stage_server/session/session.h"

// Which requests each takes is in session.c; any other ends the session. Whatever else ends it (a failure, silence, a broken stream), ends it in
// every state.
enum session_state {
	SESSION_ARRIVED, // a stream without Open. Open -> OPENING; nothing for PROTOCOL_TIMEOUT_MS -> ENDED
	SESSION_OPENING, // the executor plans, settles kernels, allocates and draws. Its `opened` -> OPENED
	SESSION_OPENED,  // memory stands; parameters may be loaded. Connect -> LINKING; Close -> CLOSING
	SESSION_LINKING, // waits for its links and its group; parameters may still be loaded. The last of them -> READY
	SESSION_READY,   // steps run. Close -> CLOSING; the daemon stops, and its step is done -> ENDED
	SESSION_CLOSING, // the executor finishes what it was ordered. Its `finished` -> ENDED
	SESSION_ENDED,   // waits for stream, executor and links to be over; then it is freed
};

struct session {
	struct session *next, **place; // in the host's list, and what points here
	struct session_host *host;
	struct rpc_stream *stream; // our reference
	enum session_state state;
	char job[64];
	struct stage_plan plan;
	bool has_plan;
	// What neighbours show to open a link here: NEIGHBOUR_PREVIOUS and NEIGHBOUR_PREVIOUS_REPLICA have one, where they exist.
	uint8_t token[NEIGHBOUR_COUNT][PROTOCOL_TOKEN_BYTES];
	bool has_token[NEIGHBOUR_COUNT];
	char address[NEIGHBOUR_COUNT][256]; // of the neighbours that this stage dialled
	const struct device_slot *slot;     // from Open on
	uint32_t device_index;              // of the slot

	struct executor *executor; // loop's thread; links' events read it, which begin after `opened`
	bool opened, joined, stream_over, executor_over;
	uint64_t held_steps;    // begun when the daemon was told to stop
	uint64_t drained_steps; // with which it ended, because the daemon stops; 0: it did not
	bool link_ready[NEIGHBOUR_COUNT], link_over[NEIGHBOUR_COUNT];
	uint64_t arrived_ns, ended_ns, heartbeat_ns;

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
	uint64_t refusals_ns, refusals_unlogged; // when their count began, and how many were not logged
	uint32_t refusals;                       // logged since
	struct lateness lateness;                // of this daemon
	bool holds_freed_memory;                 // a job's, which the C library keeps until the next tick
	struct metric *sessions_gauge, *sessions_total, *stalled_gauge;
};

// host.c
void host_add(struct session_host *host, struct session *session);
void host_remove(struct session_host *host, struct session *session);
void host_count_error(struct session_host *host, enum error_code code);
// A line about a session or an exchange that was never opened. Whoever reaches the port can make any number of them, so not all are logged, and
// the next line says how many were not.
void host_log_refusal(struct session_host *host, enum log_level level, const struct log_fields *fields,
		      const char *format, ...) __attribute__((format(printf, 4, 5)));
// The session that has the token, and for which neighbour; NULL: none.
struct session *host_find_token(struct session_host *host, const uint8_t *token, enum neighbour *ret_side);

// events.c: posted from any thread.
enum session_event_kind {
	EVENT_ARRIVED,
	EVENT_REQUEST,
	EVENT_BROKEN, // a request that is none, or data that was refused
	EVENT_HALF_CLOSED,
	EVENT_STREAM_OVER,
	EVENT_OPENED,
	EVENT_JOINED,
	EVENT_FAILED,
	EVENT_DRAINED,
	EVENT_FINISHED,
	EVENT_LINK_READY,
	EVENT_LINK_LOST,
	EVENT_LINK_OVER,
};

struct session_event {
	struct event event;
	enum session_event_kind kind;
	struct session *session;
	struct wire_request *request; // owned
	struct error error;
	uint64_t number; // opened: parameters; drained: steps
	bool flag;       // failed: lost a neighbour; finished: in good order; link lost: with an error
	enum neighbour neighbour;
};
extern const struct link_events session_link_events; // `user` of both: the session
extern const struct executor_events session_executor_events;

// session.c: loop's thread.
void session_handle_event(struct event *event); // frees it, and the session when it is over
void session_tick(struct session *session, const struct lateness *lateness, uint64_t now_ns);
struct log_fields session_fields(const struct session *session);         // also on the executor's thread
bool session_can_drain(const struct session *session);                   // steps may run in it
struct link *session_link(struct session *session, enum neighbour side); // NULL: there is none, or not yet
// Ends the session: tells the coordinator (error NULL or NONE: Closed), stops the executor and the links.
void session_end(struct session *session, const struct error *error, bool lost, enum neighbour neighbour);
void session_end_with(struct session *session, const struct error *error); // no neighbour is lost

// opening.c: loop's thread.
bool session_open(struct session *session, const struct open_order *open, struct error *error);

// linking.c: loop's thread.
bool session_connect(struct session *session, const struct connect_order *connect, struct error *error);
void session_become_ready(struct session *session); // when all links stand, and the group is joined
void session_handle_link_ready(struct session *session, enum neighbour side);
void session_handle_link_lost(struct session *session, struct session_event *event);

// inbound.c
void inbound_tick(struct session_host *host, const struct lateness *lateness, uint64_t now_ns);
void inbound_drain(struct session_host *host); // ends those that belong to no session

// reply.c: SessionResponses. Any thread.
// `group_id`: [DEVICE_GROUP_ID_BYTES], NULL: none.
void reply_opened(struct session *session, uint64_t parameters, const uint8_t *group_id);
// What the stage asks about kernels.
void reply_questions(struct session *session, const struct choice *choices, uint32_t count);
void reply_candidates(struct session *session, struct choice *const *open, uint32_t count);
void reply_times(struct session *session, const struct choice *choice, const uint64_t *ns);
void reply_loaded(struct session *session, const struct parameter *parameter);
void reply_ready(struct session *session);
void reply_heartbeat(struct session *session); // loop's thread
void reply_closed(struct session *session);
void reply_failed(struct session *session, const struct error *error, uint64_t step, bool lost, enum neighbour side);
void reply_step(struct session *session, const struct step_report *report);
void reply_norms(struct session *session, uint64_t step, uint32_t first, const double *squares, uint32_t count);
void reply_parameter(struct session *session, const struct parameter *parameter, struct buffer *values,
		     uint64_t offset_bytes, uint64_t size_bytes);
void reply_saved(struct session *session, uint32_t parameters);
