// grpc.health.v1: Check and Watch, of each service that is served, and of "", the whole server. All serve until the daemon stops,
// and none does then.
#include "grpc/health/v1/health.pb-c.h"
#include "stage_server/service/unary_call.h"

static bool take(struct call *call, const struct rpc_incoming *incoming, struct error *error)
{
	Grpc__Health__V1__HealthCheckRequest *request = (Grpc__Health__V1__HealthCheckRequest *)rpc_incoming_unpack(
		incoming, &grpc__health__v1__health_check_request__descriptor, error);
	if (request == NULL)
		return false;
	call->service_known =
		request->service[0] == '\0' || descriptors_have_service(call->unary->descriptors, request->service);
	grpc__health__v1__health_check_request__free_unpacked(request, NULL);
	return true;
}

static void send_status(struct call *call)
{
	Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	response.status = !call->service_known
				  ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN
			  : call->unary->draining ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
						  : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	rpc_stream_send(call->stream, &response.base, NULL, 0, 0);
}

static void answer_check(struct call *call)
{
	if (call->service_known)
		send_status(call);
	rpc_stream_finish(call->stream, call->service_known ? RPC_OK : RPC_NOT_FOUND,
			  call->service_known ? NULL : "there is no such service here");
}

static void answer_watch(struct call *call)
{
	send_status(call); // and again when it changes
}

const struct call_kind call_health_check = {.take = take, .answer = answer_check};
const struct call_kind call_health_watch = {.take = take, .answer = answer_watch, .drain = send_status, .stays = true};
