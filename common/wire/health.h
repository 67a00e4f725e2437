// grpc.health.v1, as published with gRPC. Any thread.
#pragma once

#include "common/rpc/rpc.h"

enum health_state {
	HEALTH_UNKNOWN,
	HEALTH_SERVING,
	HEALTH_NOT_SERVING,
	HEALTH_SERVICE_UNKNOWN,
};

struct wire_health_request {
	struct arena *arena; // what was read lies in it
	const char *service; // "": the whole server
};

struct wire_health_response {
	struct arena *arena;
	enum health_state status;
};

// The daemon's side. Returns owned; NULL with ERROR_PROTOCOL when the bytes are no request.
struct wire_health_request *wire_health_request_read(const struct rpc_incoming *incoming, struct error *error);
void wire_health_request_free(struct wire_health_request *request); // takes NULL
bool wire_health_send(struct rpc_stream *stream, enum health_state state);

// The asking side, of the whole server; as rpc_client_begin and rpc_call_end.
bool wire_health_begin(struct rpc_client *client, uint32_t deadline_ms, struct rpc_call **ret_call,
		       struct error *error);
bool wire_health_end(struct rpc_call *call, enum health_state *ret_state, struct error *error);
