// Describe: what this daemon is and does.
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "common/wire/describe.h"
#include "stage_server/service/query.h"

// What a running stage points to.
struct listed_stage {
	struct stage_counters counters;
	struct link_traffic traffic[NEIGHBOUR_COUNT];
};

struct listing {
	struct running_stage *stages; // [capacity]
	struct listed_stage *parts;   // [capacity]
	uint32_t count, capacity;
};

static const struct link_traffic *describe_link(const struct session_summary *summary, enum neighbour side,
						struct listed_stage *parts)
{
	parts->traffic[side] = summary->traffic[side];
	return summary->has_link[side] ? &parts->traffic[side] : NULL;
}

static const struct stage_counters *describe_counters(const struct session_summary *summary, struct listed_stage *parts)
{
	const struct step_totals *totals = &summary->totals;
	if (!summary->has_totals)
		return NULL;
	parts->counters = (struct stage_counters){
		.counted_ns = totals->counted_ns,
		.steps = totals->steps,
		.samples = totals->samples,
		.previous = describe_link(summary, NEIGHBOUR_PREVIOUS, parts),
		.next = describe_link(summary, NEIGHBOUR_NEXT, parts),
		.previous_replica = describe_link(summary, NEIGHBOUR_PREVIOUS_REPLICA, parts),
		.next_replica = describe_link(summary, NEIGHBOUR_NEXT_REPLICA, parts),
	};
	memcpy(parts->counters.phase_ns, totals->phase_ns, sizeof(totals->phase_ns));
	return &parts->counters;
}

static void add_stage(const struct session_summary *summary, void *user)
{
	struct listing *listing = user;
	if (listing->count == listing->capacity)
		return;
	listing->stages[listing->count] = (struct running_stage){
		.job = summary->job,
		.model = summary->model,
		.replica = summary->replica,
		.pipeline_stage = summary->pipeline_stage,
		.step = summary->step,
		.memory_bytes = summary->memory_bytes,
		.device_index = summary->device_index,
		.began_ns = summary->began_ns,
		.counters = describe_counters(summary, &listing->parts[listing->count]),
	};
	listing->count++;
}

static struct node_device describe_device(const struct device_slot *slot)
{
	struct device_info info;
	slot->ops->describe(slot->device, &info);
	return (struct node_device){.name = slot->name,
				    .threads = info.threads,
				    .group = slot->group,
				    .memory_limit_bytes = ledger_limit_bytes(slot->ledger),
				    .memory_used_bytes = ledger_used_bytes(slot->ledger)};
}

static void answer(struct query *query)
{
	const struct queries_options *options = &query->queries->options;
	uint32_t maximum = options->maximum_sessions;
	struct node_device devices[DEVICES_MAXIMUM];
	_cleanup_free_ struct running_stage *stages = calloc(maximum, sizeof(*stages));
	_cleanup_free_ struct listed_stage *parts = calloc(maximum, sizeof(*parts));
	struct listing listing = {.stages = stages, .parts = parts, .capacity = maximum};
	uint32_t device_count = devices_count(options->devices);
	for (uint32_t i = 0; i < device_count; i++)
		devices[i] = describe_device(devices_slot(options->devices, i));
	if (stages != NULL && parts != NULL)
		session_host_list(options->sessions, add_stage, &listing);
	uint64_t clock_ns = clock_now_ns();
	struct node_description node = {.version = PENSTOCK_VERSION,
					.protocol_version = PROTOCOL_VERSION,
					.devices = devices,
					.device_count = device_count,
					.running = stages,
					.running_count = listing.count,
					.maximum_sessions = maximum,
					.clock_ns = clock_ns,
					.uptime_seconds = (clock_ns - options->started_ns) / 1000000000};
	wire_node_send(query->stream, &node);
	rpc_stream_finish(query->stream, RPC_OK, NULL);
}

static bool take(struct query *query, const struct rpc_incoming *incoming, struct error *error)
{
	return wire_describe_request_check(incoming, error);
}

const struct query_kind query_describe = {.take = take, .answer = answer};
