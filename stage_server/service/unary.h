// The daemon's small services: Describe, health, and reflection. This is a call's life; who answers is in describe.c, health.c and
// reflection.c. Requests are read on gRPC's threads; what needs state is answered on the loop's, where the state is.
#pragma once

#include "common/rpc/rpc.h"
#include "stage_server/session/session.h"

struct unary_options {
	struct event_queue *queue;
	struct session_host *sessions;
	const struct devices *devices;
	struct limits *limits;
	uint32_t maximum_sessions;
	uint64_t started_ns;
};

struct unary;

struct unary *unary_create(const struct unary_options *options); // NULL when memory is out
void unary_destroy(struct unary *unary); // takes NULL; after the server stopped and the queue ran
// rpc_handlers; `user` is the struct unary.
void unary_handle_describe(struct rpc_stream *stream, void *user);
void unary_handle_health_check(struct rpc_stream *stream, void *user);
void unary_handle_health_watch(struct rpc_stream *stream, void *user);
void unary_handle_reflection(struct rpc_stream *stream, void *user);
// Loop's thread, all four.
void unary_tick(struct unary *unary);  // once a second: ends calls that ask nothing
void unary_drain(struct unary *unary); // watchers are told NOT_SERVING; all calls are answered as ever
void unary_close(struct unary *unary); // then: calls that stay, or ask nothing, end, and no more are taken
bool unary_is_empty(const struct unary *unary);
