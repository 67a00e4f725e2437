// See describe.h.
#include "common/wire/describe.h"

#include "common/rpc/protocol.h"
#include "common/wire/internal.h"
#include "penstock/v1/stage_server.pb-c.h"

static const struct field device_fields[] = {
	SAME(Device, node_device, name),
	SAME(Device, node_device, threads),
	SAME(Device, node_device, memory_limit_bytes),
	SAME(Device, node_device, memory_used_bytes),
	SAME(Device, node_device, group),
};
static const struct codec device_codec = CODEC(penstock__v1__device__descriptor, node_device, device_fields);

static const struct field traffic_fields[] = {
	SAME(LinkTraffic, link_traffic, sent_bytes),
	SAME(LinkTraffic, link_traffic, received_bytes),
};
static const struct codec traffic_codec = CODEC(penstock__v1__link_traffic__descriptor, link_traffic, traffic_fields);

static const struct field counters_fields[] = {
	SAME(StageCounters, stage_counters, counted_ns),
	SAME(StageCounters, stage_counters, steps),
	SAME(StageCounters, stage_counters, samples),
	PHASES(PHASE, StageCounters, stage_counters) PART(StageCounters, stage_counters, previous, traffic_codec),
	PART(StageCounters, stage_counters, next, traffic_codec),
	PART(StageCounters, stage_counters, previous_replica, traffic_codec),
	PART(StageCounters, stage_counters, next_replica, traffic_codec),
};
static const struct codec counters_codec =
	CODEC(penstock__v1__stage_counters__descriptor, stage_counters, counters_fields);

static const struct field stage_fields[] = {
	SAME(RunningStage, running_stage, job),
	SAME(RunningStage, running_stage, model),
	SAME(RunningStage, running_stage, pipeline_stage),
	SAME(RunningStage, running_stage, replica),
	SAME(RunningStage, running_stage, device_index),
	SAME(RunningStage, running_stage, step),
	SAME(RunningStage, running_stage, memory_bytes),
	SAME(RunningStage, running_stage, began_ns),
	PART(RunningStage, running_stage, counters, counters_codec),
};
static const struct codec stage_codec = CODEC(penstock__v1__running_stage__descriptor, running_stage, stage_fields);

#define NODE(member) AS(DescribeResponse, wire_node, member, node.member)
static const struct field node_fields[] = {
	NODE(version),
	NODE(protocol_version),
	LIST(DescribeResponse, wire_node, devices, node.devices, node.device_count, device_codec),
	LIST(DescribeResponse, wire_node, running, node.running, node.running_count, stage_codec),
	NODE(maximum_sessions),
	NODE(uptime_seconds),
	NODE(clock_ns),
};
const struct codec wire_describe_codec = CODEC(penstock__v1__describe_response__descriptor, wire_node, node_fields);

bool wire_describe_request_check(const struct rpc_incoming *incoming, struct error *error)
{
	ProtobufCMessage *message =
		rpc_incoming_unpack(incoming, &penstock__v1__describe_request__descriptor, NULL, error);
	if (message == NULL)
		return false;
	protobuf_c_message_free_unpacked(message, NULL);
	return true;
}

bool wire_node_send(struct rpc_stream *stream, const struct node_description *node)
{
	struct wire_node message = {.node = *node};
	return wire_send(&wire_describe_codec, &message, stream, NULL, 0, 0);
}

bool wire_describe_begin(struct rpc_client *client, uint32_t deadline_ms, struct rpc_call **ret_call,
			 struct error *error)
{
	Penstock__V1__DescribeRequest request = PENSTOCK__V1__DESCRIBE_REQUEST__INIT;
	return rpc_client_begin(client, PROTOCOL_METHOD_DESCRIBE, deadline_ms, &request.base, wire_describe_codec.type,
				ret_call, error);
}

bool wire_describe_end(struct rpc_call *call, struct wire_node **ret_node, struct error *error)
{
	ProtobufCMessage *message = NULL;
	if (!rpc_call_end(call, &message, error))
		return false;
	struct wire_node *node = wire_take(&wire_describe_codec, message, error);
	if (node != NULL)
		*ret_node = node;
	return node != NULL;
}

void wire_node_free(struct wire_node *node)
{
	wire_free(node);
}
