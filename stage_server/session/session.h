// Sessions: one job's lease on this daemon each. A session is a Session stream, the executor that it ordered, and the
// links to the neighbours; it ends when any of them does, and is freed when all of them are over.
//
// Threads: everything here belongs to the libuv loop's thread, except the two handlers, which gRPC's threads call.
#pragma once

#include "common/metrics/metrics.h"
#include "common/rpc/rpc.h"
#include "stage_server/limits/limits.h"
#include "stage_server/session/devices.h"
#include "stage_server/session/event_queue.h"
#include "stage_server/executor/executor.h"

// What all sessions of a daemon share; borrowed.
struct session_host_options {
	struct event_queue *queue;
	const struct devices *devices;
	struct metrics *metrics;
	struct limits *limits;
	struct rpc_tls *tls; // with which links are dialled; NULL: without
	bool dials_sockets;  // of this machine, as the daemons of penstock --local do
	uint32_t maximum_sessions;
	uint64_t maximum_message_bytes; // received
};

struct session_host;

// A device that is longer than this with one instruction is taken to hang: penstock_stalled_stages, and STATUS for systemd.
enum { SESSION_STALLED_S = 120 };

struct session_host *session_host_create(const struct session_host_options *options); // NULL when memory is out
void session_host_destroy(struct session_host *host); // takes NULL; when no session is left

// rpc_handlers; `user` is the host.
void session_host_handle_session(struct rpc_stream *stream, void *user);
void session_host_handle_exchange(struct rpc_stream *stream, void *user);

void session_host_tick(
	struct session_host *host); // once a second: heartbeats, silence, streams that linger, freed memory
// Refuses new sessions, ends those in which no step runs, and lets the others end the steps that they have begun.
void session_host_drain(struct session_host *host);
void session_host_end(struct session_host *host,
		      const char *why);                      // refuses new sessions and ends all now; `why` may be ""
bool session_host_is_empty(const struct session_host *host); // of sessions, and of streams from neighbours
uint32_t session_host_count(const struct session_host *host);

struct session_summary {
	const char *job, *model; // borrowed until the loop goes on
	uint32_t replica, pipeline_stage, device_index;
	uint64_t began_ns, step, memory_bytes;
	uint64_t device_ns; // see executor_device_ns
	// From the moment its memory stands:
	bool has_totals;
	struct step_totals totals;
	bool has_link[NEIGHBOUR_COUNT];
	struct link_traffic traffic[NEIGHBOUR_COUNT];
};
// Calls `visit` for each session that has a plan.
void session_host_list(struct session_host *host, void (*visit)(const struct session_summary *summary, void *user),
		       void *user);
