// What unary.c (a call's life) and those who answer (describe.c, health.c, reflection.c) share.
#pragma once

#include "stage_server/service/descriptors.h"
#include "stage_server/service/unary.h"

struct call;

// What is asked for, and who answers.
struct call_kind {
	// gRPC's thread: a request came. What of it is needed later goes into the call.
	bool (*take)(struct call *call, const struct rpc_incoming *incoming, struct error *error);
	// Loop's thread, once. NULL: `take` has answered, and more requests may follow.
	void (*answer)(struct call *call);
	void (*drain)(struct call *call); // loop's thread: says so to a call that was answered; optional
	bool stays;                       // open after its answer, until the client or the daemon ends it
};

struct call {
	struct call *next, **place; // loop's thread
	struct unary *unary;
	struct rpc_stream *stream; // our reference
	const struct call_kind *kind;
	_Atomic(bool) asked;
	bool service_known;    // health: of the request
	uint64_t answer_bytes; // reflection: of all answers
	bool served;           // loop's thread: answered once
	uint64_t arrived_ns;
	struct event arrived, request, over;
};

struct unary {
	struct unary_options options;
	struct descriptors *descriptors;
	struct call *calls;
	uint32_t staying, others;
	bool draining; // NOT_SERVING
	bool closing;  // no more calls are taken
};

extern const struct call_kind call_describe, call_health_check, call_health_watch, call_reflection;
