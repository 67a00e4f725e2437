// See unary.h.
#include "stage_server/service/unary.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"
#include "grpc/health/v1/health.pb-c.h"
#include "penstock/v1/stage_server.pb-c.h"

enum { MAXIMUM_CALLS = 256, MAXIMUM_WATCHERS = 64 }; // at once

static const char stopping[] = "this daemon is stopping";

enum call_kind { CALL_DESCRIBE, CALL_CHECK, CALL_WATCH };

struct call {
	struct call *next, **place; // in the list, and what points here: loop's thread
	struct unary *unary;
	struct rpc_stream *stream; // our reference
	enum call_kind kind;
	_Atomic(bool) asked;
	bool service_known; // health: of the request
	bool served;        // loop's thread: answered once
	uint64_t arrived_ns;
	struct event arrived, request, over;
};

struct unary {
	struct unary_options options;
	struct call *calls;
	uint32_t watchers, others;
	bool draining;
};

// ---- Describe

struct listing {
	Penstock__V1__RunningStage *stages, **pointers;
	size_t count, capacity;
};

static void add_stage(const struct session_summary *summary, void *user)
{
	struct listing *listing = user;
	if (listing->count == listing->capacity)
		return;
	Penstock__V1__RunningStage *stage = &listing->stages[listing->count];
	penstock__v1__running_stage__init(stage);
	stage->job = (char *)summary->job;
	stage->model = (char *)summary->model;
	stage->replica = summary->replica;
	stage->pipeline_stage = summary->pipeline_stage;
	stage->step = summary->step;
	stage->memory_bytes = summary->memory_bytes;
	listing->pointers[listing->count++] = stage;
}

static void describe_device(const struct device_slot *slot, Penstock__V1__Device *ret_device)
{
	struct device_info info;
	slot->ops->describe(slot->device, &info);
	penstock__v1__device__init(ret_device);
	ret_device->name = (char *)slot->name;
	ret_device->threads = info.threads;
	ret_device->group = (char *)slot->group;
	ret_device->memory_limit_bytes = ledger_limit_bytes(slot->ledger);
	ret_device->memory_used_bytes = ledger_used_bytes(slot->ledger);
}

static void answer_describe(struct call *call)
{
	const struct unary_options *options = &call->unary->options;
	Penstock__V1__DescribeResponse response = PENSTOCK__V1__DESCRIBE_RESPONSE__INIT;
	Penstock__V1__Device devices[DEVICES_MAXIMUM], *pointers[DEVICES_MAXIMUM];
	struct listing listing = {.capacity = options->maximum_sessions};
	uint32_t device_count = devices_count(options->devices);
	for (uint32_t i = 0; i < device_count; i++) {
		describe_device(devices_slot(options->devices, i), &devices[i]);
		pointers[i] = &devices[i];
	}
	listing.stages = calloc(listing.capacity, sizeof(*listing.stages));
	listing.pointers = calloc(listing.capacity, sizeof(*listing.pointers));
	if (listing.stages != NULL && listing.pointers != NULL)
		session_host_list(options->sessions, add_stage, &listing);
	response.version = PENSTOCK_VERSION;
	response.protocol_version = PROTOCOL_VERSION;
	response.n_devices = device_count;
	response.devices = pointers;
	response.n_running = listing.count;
	response.running = listing.pointers;
	response.maximum_sessions = options->maximum_sessions;
	response.uptime_seconds = (clock_now_ns() - options->started_ns) / 1000000000;
	rpc_stream_send(call->stream, &response.base, NULL, 0, 0);
	rpc_stream_finish(call->stream, RPC_OK, NULL);
	free(listing.stages);
	free(listing.pointers);
}

// ---- Health (grpc.health.v1): "" is the whole server

static void send_health(struct call *call)
{
	Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	response.status = !call->service_known
				  ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN
			  : call->unary->draining ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
						  : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	rpc_stream_send(call->stream, &response.base, NULL, 0, 0);
}

static void answer(struct call *call)
{
	call->served = true;
	if (call->kind == CALL_DESCRIBE) {
		answer_describe(call);
	} else if (call->kind == CALL_WATCH) {
		send_health(call); // and again when it changes
		if (call->unary->draining)
			rpc_stream_finish(call->stream, RPC_UNAVAILABLE, stopping);
	} else if (call->service_known) {
		send_health(call);
		rpc_stream_finish(call->stream, RPC_OK, NULL);
	} else {
		rpc_stream_finish(call->stream, RPC_NOT_FOUND, "there is no such service here");
	}
}

// ---- A call's life

static struct call *of(struct event *event, size_t offset)
{
	return (struct call *)((char *)event - offset);
}

static bool read_request(struct call *call, const struct rpc_incoming *incoming, struct error *error)
{
	const ProtobufCMessageDescriptor *type = call->kind == CALL_DESCRIBE
							 ? &penstock__v1__describe_request__descriptor
							 : &grpc__health__v1__health_check_request__descriptor;
	ProtobufCMessage *message = rpc_incoming_unpack(incoming, type, error);
	if (message == NULL)
		return false;
	if (call->kind != CALL_DESCRIBE) {
		const char *service = ((Grpc__Health__V1__HealthCheckRequest *)message)->service;
		call->service_known = strcmp(service, "") == 0 || strcmp(service, "penstock.v1.StageServer") == 0;
	}
	protobuf_c_message_free_unpacked(message, NULL);
	return true;
}

static void on_message(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct call *call = user;
	struct error error;
	if (call->asked || !read_request(call, incoming, &error)) {
		rpc_stream_finish(stream, RPC_INVALID_ARGUMENT, call->asked ? "one request is enough" : error.message);
		return;
	}
	call->asked = true;
	event_queue_post(call->unary->options.queue, &call->request);
}

static void on_half_closed(struct rpc_stream *stream, void *user)
{
	struct call *call = user;
	if (!call->asked)
		rpc_stream_finish(stream, RPC_INVALID_ARGUMENT, "the request is missing");
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
	bool watches = call->kind == CALL_WATCH;
	uint32_t maximum = watches ? MAXIMUM_WATCHERS : MAXIMUM_CALLS;
	if (++*(watches ? &unary->watchers : &unary->others) > maximum) {
		limits_hit(unary->options.limits, watches ? LIMIT_WATCHERS : LIMIT_CALLS,
			   "%s was refused: %u are there already", rpc_stream_peer(call->stream), maximum);
		rpc_stream_finish(call->stream, RPC_RESOURCE_EXHAUSTED, "too many calls at once");
	} else if (unary->draining)
		rpc_stream_finish(call->stream, RPC_UNAVAILABLE, stopping);
}

static void handle_request(struct event *event)
{
	answer(of(event, offsetof(struct call, request)));
}

static void handle_over(struct event *event)
{
	struct call *call = of(event, offsetof(struct call, over));
	*call->place = call->next; // not searched for: a flood of calls makes long lists
	if (call->next != NULL)
		call->next->place = call->place;
	*(call->kind == CALL_WATCH ? &call->unary->watchers : &call->unary->others) -= 1;
	rpc_stream_unref(call->stream);
	free(call);
}

static void handle(struct rpc_stream *stream, struct unary *unary, enum call_kind kind)
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
	handle(stream, user, CALL_DESCRIBE);
}

void unary_handle_health_check(struct rpc_stream *stream, void *user)
{
	handle(stream, user, CALL_CHECK);
}

void unary_handle_health_watch(struct rpc_stream *stream, void *user)
{
	handle(stream, user, CALL_WATCH);
}

struct unary *unary_create(const struct unary_options *options)
{
	struct unary *unary = calloc(1, sizeof(*unary));
	if (unary != NULL)
		unary->options = *options;
	return unary;
}

void unary_destroy(struct unary *unary)
{
	free(unary);
}

void unary_drain(struct unary *unary)
{
	unary->draining = true;
	for (struct call *call = unary->calls; call != NULL; call = call->next) {
		if (call->kind == CALL_WATCH && call->served)
			send_health(call);
		if (call->kind == CALL_WATCH || !call->asked)
			rpc_stream_finish(call->stream, RPC_UNAVAILABLE, stopping);
	}
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
