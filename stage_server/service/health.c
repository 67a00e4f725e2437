// grpc.health.v1: Check and Watch, of each service that is served, and of "", the whole server. All serve until the daemon stops,
// and none does then.
#include "common/wire/health.h"
#include "stage_server/service/query.h"

static bool take(struct query *query, const struct rpc_incoming *incoming, struct error *error)
{
	struct wire_health_request *request = wire_health_request_read(incoming, error);
	if (request == NULL)
		return false;
	query->service_known =
		request->service[0] == '\0' || descriptors_have_service(query->queries->descriptors, request->service);
	wire_health_request_free(request);
	return true;
}

static void send_status(struct query *query)
{
	wire_health_send(query->stream, !query->service_known      ? HEALTH_SERVICE_UNKNOWN
					: query->queries->draining ? HEALTH_NOT_SERVING
								   : HEALTH_SERVING);
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
