// See health.h.
#include "common/wire/health.h"

#include "common/rpc/protocol.h"
#include "common/wire/internal.h"
#include "grpc/health/v1/health.pb-c.h"

static const struct field request_fields[] = {
	{.kind = FIELD_TEXT,
	 .theirs = offsetof(Grpc__Health__V1__HealthCheckRequest, service),
	 .ours = OURS(wire_health_request, service)},
};
const struct codec wire_health_request_codec =
	CODEC(grpc__health__v1__health_check_request__descriptor, wire_health_request, request_fields);

static const struct field response_fields[] = {
	{.kind = FIELD_ENUM,
	 .theirs = offsetof(Grpc__Health__V1__HealthCheckResponse, status),
	 .ours = OURS(wire_health_response, status),
	 .values = &wire_health_states},
};
const struct codec wire_health_response_codec =
	CODEC(grpc__health__v1__health_check_response__descriptor, wire_health_response, response_fields);

struct wire_health_request *wire_health_request_read(const struct rpc_incoming *incoming, struct error *error)
{
	return wire_read(&wire_health_request_codec, incoming, error);
}

void wire_health_request_free(struct wire_health_request *request)
{
	wire_free(request);
}

bool wire_health_send(struct rpc_stream *stream, enum health_state state)
{
	struct wire_health_response response = {.status = state};
	return wire_send(&wire_health_response_codec, &response, stream, NULL, 0, 0);
}

bool wire_health_begin(struct rpc_client *client, uint32_t deadline_ms, struct rpc_call **ret_call, struct error *error)
{
	Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	return rpc_client_begin(client, PROTOCOL_METHOD_HEALTH_CHECK, deadline_ms, &request.base,
				wire_health_response_codec.type, ret_call, error);
}

bool wire_health_end(struct rpc_call *call, enum health_state *ret_state, struct error *error)
{
	ProtobufCMessage *message = NULL;
	if (!rpc_call_end(call, &message, error))
		return false;
	struct wire_health_response *response = wire_take(&wire_health_response_codec, message, error);
	if (response == NULL)
		return false;
	*ret_state = response->status;
	wire_free(response);
	return true;
}
