// Describe: what this daemon is and does.
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"
#include "penstock/v1/stage_server.pb-c.h"
#include "stage_server/service/query.h"

struct listed_stage {
	Penstock__V1__RunningStage stage;
	Penstock__V1__StageCounters counters;
	Penstock__V1__LinkTraffic traffic[NEIGHBOUR_COUNT];
};

struct listing {
	struct listed_stage *stages;
	Penstock__V1__RunningStage **pointers;
	size_t count, capacity;
};

static Penstock__V1__LinkTraffic *describe_link(const struct session_summary *summary, enum neighbour side,
						struct listed_stage *listed)
{
	Penstock__V1__LinkTraffic *traffic = &listed->traffic[side];
	if (!summary->has_link[side])
		return NULL;
	penstock__v1__link_traffic__init(traffic);
	traffic->sent_bytes = summary->traffic[side].sent_bytes;
	traffic->received_bytes = summary->traffic[side].received_bytes;
	return traffic;
}

static void describe_counters(const struct session_summary *summary, struct listed_stage *listed)
{
	const struct step_totals *totals = &summary->totals;
	Penstock__V1__StageCounters *counters = &listed->counters;
	penstock__v1__stage_counters__init(counters);
	counters->counted_ns = totals->counted_ns;
	counters->steps = totals->steps;
	counters->samples = totals->samples;
	PHASES_WRITE(counters, totals->phase_ns);
	counters->previous = describe_link(summary, NEIGHBOUR_PREVIOUS, listed);
	counters->next = describe_link(summary, NEIGHBOUR_NEXT, listed);
	counters->previous_replica = describe_link(summary, NEIGHBOUR_PREVIOUS_REPLICA, listed);
	counters->next_replica = describe_link(summary, NEIGHBOUR_NEXT_REPLICA, listed);
	listed->stage.counters = counters;
}

static void add_stage(const struct session_summary *summary, void *user)
{
	struct listing *listing = user;
	if (listing->count == listing->capacity)
		return;
	struct listed_stage *listed = &listing->stages[listing->count];
	Penstock__V1__RunningStage *stage = &listed->stage;
	penstock__v1__running_stage__init(stage);
	stage->job = (char *)summary->job;
	stage->model = (char *)summary->model;
	stage->replica = summary->replica;
	stage->pipeline_stage = summary->pipeline_stage;
	stage->step = summary->step;
	stage->memory_bytes = summary->memory_bytes;
	stage->device_index = summary->device_index;
	stage->began_ns = summary->began_ns;
	if (summary->has_totals)
		describe_counters(summary, listed);
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

static void answer(struct query *query)
{
	const struct queries_options *options = &query->queries->options;
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
	response.clock_ns = clock_now_ns();
	response.uptime_seconds = (response.clock_ns - options->started_ns) / 1000000000;
	rpc_stream_send(query->stream, &response.base, NULL, 0, 0);
	rpc_stream_finish(query->stream, RPC_OK, NULL);
	free(listing.stages);
	free(listing.pointers);
}

static bool take(struct query *query, const struct rpc_incoming *incoming, struct error *error)
{
	ProtobufCMessage *message = rpc_incoming_unpack(incoming, &penstock__v1__describe_request__descriptor, NULL, error);
	if (message == NULL)
		return false;
	protobuf_c_message_free_unpacked(message, NULL);
	return true;
}

const struct query_kind query_describe = {.take = take, .answer = answer};
