// grpc.reflection: what generic tools (grpcurl, for one) read the services from. Answered on gRPC's thread, since nothing here changes.
#include "common/wire/reflection.h"

#include "stage_server/service/query.h"

// What a call may be sent in all, sixty times everything there is: a client that asks and never reads is held to that.
enum { MAXIMUM_ANSWER_BYTES = 1 << 20, MAXIMUM_SERVICES = 16 };

static void answer(struct query *query, const struct wire_reflection *request, const struct reflection_answer *answer)
{
	size_t bytes = 0;
	if (wire_reflection_send(query->stream, request, answer, MAXIMUM_ANSWER_BYTES - query->answer_bytes, &bytes))
		query->answer_bytes += bytes;
	else
		rpc_stream_finish(query->stream, RPC_RESOURCE_EXHAUSTED,
				  "too many requests in one call: make another call");
}

static void send_error(struct query *query, const struct wire_reflection *request, enum rpc_status status,
		       const char *why)
{
	answer(query, request, &(struct reflection_answer){.status = status, .error = why});
}

static void send_file(struct query *query, const struct wire_reflection *request, const struct descriptor_file *file)
{
	if (file == NULL)
		send_error(query, request, RPC_NOT_FOUND, "this daemon's services have no such file");
	else
		answer(query, request, &(struct reflection_answer){.file = file});
}

static void send_services(struct query *query, const struct wire_reflection *request)
{
	const char *services[MAXIMUM_SERVICES];
	uint32_t count = 0;
	while (count < MAXIMUM_SERVICES &&
	       (services[count] = descriptors_service(query->queries->descriptors, count)) != NULL)
		count++;
	answer(query, request, &(struct reflection_answer){.services = services, .service_count = count});
}

// These services are proto3's: no message of theirs has extensions.
static void send_extension_numbers(struct query *query, const struct wire_reflection *request)
{
	if (!descriptors_have_message(query->queries->descriptors, request->text))
		send_error(query, request, RPC_NOT_FOUND, "this daemon's services have no such message");
	else
		answer(query, request, &(struct reflection_answer){.type_without_extensions = request->text});
}

static bool take(struct query *query, const struct rpc_incoming *incoming, struct error *error)
{
	struct wire_reflection *request = wire_reflection_read(incoming, error);
	if (request == NULL)
		return false;
	const struct descriptors *descriptors = query->queries->descriptors;
	switch (request->kind) {
	case REFLECTION_FILE_BY_NAME:
		send_file(query, request, descriptors_find_file(descriptors, request->text));
		break;
	case REFLECTION_FILE_CONTAINING_SYMBOL:
		send_file(query, request, descriptors_find_symbol(descriptors, request->text));
		break;
	case REFLECTION_FILE_CONTAINING_EXTENSION:
		send_file(query, request, NULL);
		break;
	case REFLECTION_EXTENSION_NUMBERS:
		send_extension_numbers(query, request);
		break;
	case REFLECTION_LIST_SERVICES:
		send_services(query, request);
		break;
	default:
		send_error(query, request, RPC_INVALID_ARGUMENT, "unknown kind of request");
	}
	wire_reflection_free(request);
	return true;
}

const struct query_kind query_reflection = {.take = take, .stays = true};
