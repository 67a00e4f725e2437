// See queries.h.
#include "stage_server/service/queries.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"
#include "stage_server/service/query.h"

enum { MAXIMUM_CALLS = 256, MAXIMUM_STAYING = 64 }; // at once

static const char stopping[] = "this daemon is stopping";

static struct query *of(struct event *event, size_t offset)
{
	return (struct query *)((char *)event - offset);
}

static void on_message(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct query *query = user;
	struct error error;
	bool enough = query->asked && query->kind->answer != NULL;
	if (enough || !query->kind->take(query, incoming, &error)) {
		rpc_stream_finish(stream, RPC_INVALID_ARGUMENT, enough ? "only one request is allowed" : error.message);
		return;
	}
	if (query->asked)
		return;
	query->asked = true;
	event_queue_post(query->queries->options.queue, &query->request);
}

static void on_half_closed(struct rpc_stream *stream, void *user)
{
	struct query *query = user;
	if (!query->asked)
		rpc_stream_finish(stream, RPC_INVALID_ARGUMENT, "the request is missing");
	else if (query->kind->answer == NULL)
		rpc_stream_finish(stream, RPC_OK, NULL); // all have been answered
}

static void on_closed(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	struct query *query = user;
	event_queue_post(query->queries->options.queue, &query->over);
}

static void handle_arrived(struct event *event)
{
	struct query *query = of(event, offsetof(struct query, arrived));
	struct queries *queries = query->queries;
	query->next = queries->first;
	query->place = &queries->first;
	if (query->next != NULL)
		query->next->place = &query->next;
	queries->first = query;
	// Counted apart, so that no number of watchers keeps a probe from its answer.
	bool stays = query->kind->stays;
	uint32_t maximum = stays ? MAXIMUM_STAYING : MAXIMUM_CALLS;
	if (++*(stays ? &queries->staying : &queries->others) > maximum) {
		limits_hit(queries->options.limits, stays ? LIMIT_WATCHERS : LIMIT_CALLS,
			   "%s was refused: %u are already running", rpc_stream_peer(query->stream), maximum);
		rpc_stream_finish(query->stream, RPC_RESOURCE_EXHAUSTED, "too many calls at once");
	} else if (queries->closing)
		rpc_stream_finish(query->stream, RPC_UNAVAILABLE, stopping);
}

static void handle_request(struct event *event)
{
	struct query *query = of(event, offsetof(struct query, request));
	query->served = true;
	if (query->kind->answer != NULL)
		query->kind->answer(query);
}

static void handle_over(struct event *event)
{
	struct query *query = of(event, offsetof(struct query, over));
	*query->place = query->next; // not searched for: a flood of calls makes long lists
	if (query->next != NULL)
		query->next->place = query->place;
	*(query->kind->stays ? &query->queries->staying : &query->queries->others) -= 1;
	rpc_stream_unref(query->stream);
	free(query);
}

static void handle(struct rpc_stream *stream, struct queries *queries, const struct query_kind *kind)
{
	static const struct rpc_stream_events events = {
		.message = on_message, .half_closed = on_half_closed, .closed = on_closed};
	struct query *query = calloc(1, sizeof(*query));
	if (query == NULL) {
		rpc_stream_finish(stream, RPC_RESOURCE_EXHAUSTED, "no memory for a call");
		rpc_stream_unref(stream);
		return;
	}
	query->queries = queries;
	query->stream = stream;
	query->kind = kind;
	query->arrived_ns = clock_now_ns();
	query->arrived.handler = handle_arrived;
	query->request.handler = handle_request;
	query->over.handler = handle_over;
	rpc_stream_accept(stream, &events, query);
	event_queue_post(queries->options.queue, &query->arrived);
}

void queries_handle_describe(struct rpc_stream *stream, void *user)
{
	handle(stream, user, &query_describe);
}

void queries_handle_health_check(struct rpc_stream *stream, void *user)
{
	handle(stream, user, &query_health_check);
}

void queries_handle_health_watch(struct rpc_stream *stream, void *user)
{
	handle(stream, user, &query_health_watch);
}

void queries_handle_reflection(struct rpc_stream *stream, void *user)
{
	handle(stream, user, &query_reflection);
}

struct queries *queries_create(const struct queries_options *options)
{
	struct queries *queries = calloc(1, sizeof(*queries));
	if (queries == NULL)
		return NULL;
	queries->options = *options;
	queries->descriptors = descriptors_create();
	if (queries->descriptors == NULL) {
		queries_destroy(queries);
		return NULL;
	}
	return queries;
}

void queries_destroy(struct queries *queries)
{
	if (queries == NULL)
		return;
	descriptors_destroy(queries->descriptors);
	free(queries);
}

void queries_drain(struct queries *queries)
{
	queries->draining = true;
	for (struct query *query = queries->first; query != NULL; query = query->next)
		if (query->served && query->kind->drain != NULL)
			query->kind->drain(query);
}

void queries_close(struct queries *queries)
{
	queries->closing = true;
	for (struct query *query = queries->first; query != NULL; query = query->next)
		if (query->kind->stays || !query->asked)
			rpc_stream_finish(query->stream, RPC_UNAVAILABLE, stopping);
}

void queries_tick(struct queries *queries)
{
	uint64_t now_ns = clock_now_ns();
	for (struct query *query = queries->first; query != NULL; query = query->next)
		if (!query->served && now_ns > query->arrived_ns &&
		    now_ns - query->arrived_ns > PROTOCOL_TIMEOUT_MS * UINT64_C(1000000))
			rpc_stream_finish(query->stream, RPC_DEADLINE_EXCEEDED, "the request did not come in time");
}

bool queries_is_empty(const struct queries *queries)
{
	return queries->first == NULL;
}
