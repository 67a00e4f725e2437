// See unary.h.
#include "stage_server/service/unary.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"
#include "stage_server/service/unary_call.h"

enum { MAXIMUM_CALLS = 256, MAXIMUM_STAYING = 64 }; // at once

static const char stopping[] = "this daemon is stopping";

static struct call *of(struct event *event, size_t offset)
{
	return (struct call *)((char *)event - offset);
}

static void on_message(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct call *call = user;
	struct error error;
	bool enough = call->asked && call->kind->answer != NULL;
	if (enough || !call->kind->take(call, incoming, &error)) {
		rpc_stream_finish(stream, RPC_INVALID_ARGUMENT, enough ? "one request is enough" : error.message);
		return;
	}
	if (call->asked)
		return;
	call->asked = true;
	event_queue_post(call->unary->options.queue, &call->request);
}

static void on_half_closed(struct rpc_stream *stream, void *user)
{
	struct call *call = user;
	if (!call->asked)
		rpc_stream_finish(stream, RPC_INVALID_ARGUMENT, "the request is missing");
	else if (call->kind->answer == NULL)
		rpc_stream_finish(stream, RPC_OK, NULL); // all have been answered
}

static void on_closed(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	struct call *call = user;
	event_queue_post(call->unary->options.queue, &call->over);
}

static void handle_arrived(struct event *event)
{
	struct call *call = of(event, offsetof(struct call, arrived));
	struct unary *unary = call->unary;
	call->next = unary->calls;
	call->place = &unary->calls;
	if (call->next != NULL)
		call->next->place = &call->next;
	unary->calls = call;
	// Counted apart, so that no number of watchers keeps a probe from its answer.
	bool stays = call->kind->stays;
	uint32_t maximum = stays ? MAXIMUM_STAYING : MAXIMUM_CALLS;
	if (++*(stays ? &unary->staying : &unary->others) > maximum) {
		limits_hit(unary->options.limits, stays ? LIMIT_WATCHERS : LIMIT_CALLS,
			   "%s was refused: %u are there already", rpc_stream_peer(call->stream), maximum);
		rpc_stream_finish(call->stream, RPC_RESOURCE_EXHAUSTED, "too many calls at once");
	} else if (unary->closing)
		rpc_stream_finish(call->stream, RPC_UNAVAILABLE, stopping);
}

static void handle_request(struct event *event)
{
	struct call *call = of(event, offsetof(struct call, request));
	call->served = true;
	if (call->kind->answer != NULL)
		call->kind->answer(call);
}

static void handle_over(struct event *event)
{
	struct call *call = of(event, offsetof(struct call, over));
	*call->place = call->next; // not searched for: a flood of calls makes long lists
	if (call->next != NULL)
		call->next->place = call->place;
	*(call->kind->stays ? &call->unary->staying : &call->unary->others) -= 1;
	rpc_stream_unref(call->stream);
	free(call);
}

static void handle(struct rpc_stream *stream, struct unary *unary, const struct call_kind *kind)
{
	static const struct rpc_stream_events events = {
		.message = on_message, .half_closed = on_half_closed, .closed = on_closed};
	struct call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		rpc_stream_finish(stream, RPC_RESOURCE_EXHAUSTED, "no memory for a call");
		rpc_stream_unref(stream);
		return;
	}
	call->unary = unary;
	call->stream = stream;
	call->kind = kind;
	call->arrived_ns = clock_now_ns();
	call->arrived.handler = handle_arrived;
	call->request.handler = handle_request;
	call->over.handler = handle_over;
	rpc_stream_accept(stream, &events, call);
	event_queue_post(unary->options.queue, &call->arrived);
}

void unary_handle_describe(struct rpc_stream *stream, void *user)
{
	handle(stream, user, &call_describe);
}

void unary_handle_health_check(struct rpc_stream *stream, void *user)
{
	handle(stream, user, &call_health_check);
}

void unary_handle_health_watch(struct rpc_stream *stream, void *user)
{
	handle(stream, user, &call_health_watch);
}

void unary_handle_reflection(struct rpc_stream *stream, void *user)
{
	handle(stream, user, &call_reflection);
}

struct unary *unary_create(const struct unary_options *options)
{
	struct unary *unary = calloc(1, sizeof(*unary));
	if (unary == NULL)
		return NULL;
	unary->options = *options;
	unary->descriptors = descriptors_create();
	if (unary->descriptors == NULL) {
		unary_destroy(unary);
		return NULL;
	}
	return unary;
}

void unary_destroy(struct unary *unary)
{
	if (unary == NULL)
		return;
	descriptors_destroy(unary->descriptors);
	free(unary);
}

void unary_drain(struct unary *unary)
{
	unary->draining = true;
	for (struct call *call = unary->calls; call != NULL; call = call->next)
		if (call->served && call->kind->drain != NULL)
			call->kind->drain(call);
}

void unary_close(struct unary *unary)
{
	unary->closing = true;
	for (struct call *call = unary->calls; call != NULL; call = call->next)
		if (call->kind->stays || !call->asked)
			rpc_stream_finish(call->stream, RPC_UNAVAILABLE, stopping);
}

void unary_tick(struct unary *unary)
{
	uint64_t now_ns = clock_now_ns();
	for (struct call *call = unary->calls; call != NULL; call = call->next)
		if (!call->served && now_ns > call->arrived_ns &&
		    now_ns - call->arrived_ns > PROTOCOL_TIMEOUT_MS * UINT64_C(1000000))
			rpc_stream_finish(call->stream, RPC_DEADLINE_EXCEEDED, "the request did not come in time");
}

bool unary_is_empty(const struct unary *unary)
{
	return unary->calls == NULL;
}
