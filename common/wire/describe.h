// Describe: a daemon says what it is and does (penstock.v1.DescribeResponse). Any thread.
#pragma once

#include "common/job/node.h"
#include "common/rpc/rpc.h"

struct wire_node {
	struct arena *arena; // what was read lies in it
	struct node_description node;
};

// The daemon's side. False with ERROR_PROTOCOL when the bytes are no request.
bool wire_describe_request_check(const struct rpc_incoming *incoming, struct error *error);
bool wire_node_send(struct rpc_stream *stream, const struct node_description *node); // borrowed until it returns

// The asking side, as rpc_client_begin and rpc_call_end.
bool wire_describe_begin(struct rpc_client *client, uint32_t deadline_ms, struct rpc_call **ret_call,
			 struct error *error);
bool wire_describe_end(struct rpc_call *call, struct wire_node **ret_node, struct error *error); // returns owned
void wire_node_free(struct wire_node *node);                                                     // takes NULL
