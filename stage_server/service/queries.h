// The daemon's small services: Describe, health, and reflection. This is a call's life; who answers is in describe.c, health.c and
// reflection.c. Requests are read on gRPC's threads; what needs state is answered on the loop's, where the state is.
#pragma once

#include "common/rpc/rpc.h"
#include "stage_server/session/session.h"

struct queries_options {
	struct event_queue *queue;
	struct session_host *sessions;
	const struct devices *devices;
	struct limits *limits;
	uint32_t maximum_sessions;
	uint64_t started_ns;
};

struct queries;

struct queries *queries_create(const struct queries_options *options); // NULL when memory is out
void queries_destroy(struct queries *queries); // takes NULL; after the server stopped and the queue ran
// rpc_handlers; `user` is the struct queries.
void queries_handle_describe(struct rpc_stream *stream, void *user);
void queries_handle_health_check(struct rpc_stream *stream, void *user);
void queries_handle_health_watch(struct rpc_stream *stream, void *user);
void queries_handle_reflection(struct rpc_stream *stream, void *user);
// Loop's thread, all four.
void queries_tick(struct queries *queries);  // once a second: ends calls that ask nothing
void queries_drain(struct queries *queries); // watchers are told NOT_SERVING; all calls are answered as ever
void queries_close(struct queries *queries); // then: calls that stay, or ask nothing, end, and no more are taken
bool queries_is_empty(const struct queries *queries);
