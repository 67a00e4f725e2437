// What queries.c (a call's life) and those who answer (describe.c, health.c, reflection.c) share.
#pragma once

#include "common/wire/descriptors.h"
#include "stage_server/service/queries.h"

struct query;

// What is asked for, and who answers.
struct query_kind {
	// gRPC's thread: a request came. What of it is needed later goes into the call.
	bool (*take)(struct query *query, const struct rpc_incoming *incoming, struct error *error);
	// Loop's thread, once. NULL: `take` has answered, and more requests may follow.
	void (*answer)(struct query *query);
	void (*drain)(struct query *query); // loop's thread: says so to a call that was answered; optional
	bool stays;                         // open after its answer, until the client or the daemon ends it
};

struct query {
	struct query *next, **place; // loop's thread
	struct queries *queries;
	struct rpc_stream *stream; // our reference
	const struct query_kind *kind;
	_Atomic(bool) asked;
	bool service_known;    // health: of the request
	uint64_t answer_bytes; // reflection: of all answers
	bool served;           // loop's thread: answered once
	uint64_t arrived_ns;
	struct event arrived, request, over;
};

struct queries {
	struct queries_options options;
	struct descriptors *descriptors;
	struct query *first;
	uint32_t staying, others;
	bool draining; // NOT_SERVING
	bool closing;  // no more calls are taken
};

extern const struct query_kind query_describe, query_health_check, query_health_watch, query_reflection;
