// grpc.health.v1: Check and Watch, of each service that is served, and of "", the whole server. All serve until the daemon stops,
// and none does then.
#include "grpc/health/v1/health.pb-c.h"
#include "stage_server/service/query.h"

static bool take(struct query *query, const struct rpc_incoming *incoming, struct error *error)
{
	Grpc__Health__V1__HealthCheckRequest *request = (Grpc__Health__V1__HealthCheckRequest *)rpc_incoming_unpack(
		incoming, &grpc__health__v1__health_check_request__descriptor, NULL, error);
	if (request == NULL)
		return false;
	query->service_known =
		request->service[0] == '\0' || descriptors_have_service(query->queries->descriptors, request->service);
	grpc__health__v1__health_check_request__free_unpacked(request, NULL);
	return true;
}

static void send_status(struct query *query)
{
	Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	response.status =
		!query->service_known      ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN
		: query->queries->draining ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
					   : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	rpc_stream_send(query->stream, &response.base, NULL, 0, 0);
}

static void answer_check(struct query *query)
{
	if (query->service_known)
		send_status(query);
	rpc_stream_finish(query->stream, query->service_known ? RPC_OK : RPC_NOT_FOUND,
			  query->service_known ? NULL : "unknown service");
}

static void answer_watch(struct query *query)
{
	send_status(query); // and again when it changes
}

const struct query_kind query_health_check = {.take = take, .answer = answer_check};
const struct query_kind query_health_watch = {
	.take = take, .answer = answer_watch, .drain = send_status, .stays = true};
