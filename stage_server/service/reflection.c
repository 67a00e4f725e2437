// grpc.reflection, v1 and v1alpha, whose messages are the same on the wire: what generic tools (grpcurl, for one) read the services
// from. Answered on gRPC's thread, since nothing here changes.
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "stage_server/service/query.h"

// What a call may be sent in all, sixty times everything there is: a client that asks and never reads is held to that.
enum { MAXIMUM_ANSWER_BYTES = 1 << 20, MAXIMUM_SERVICES = 16 };

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

static void answer(struct query *query, Response *response)
{
	query->answer_bytes += protobuf_c_message_get_packed_size(&response->base);
	if (query->answer_bytes > MAXIMUM_ANSWER_BYTES)
		rpc_stream_finish(query->stream, RPC_RESOURCE_EXHAUSTED,
				  "too many requests in one call: make another call");
	else
		rpc_stream_send(query->stream, &response->base, NULL, 0, 0);
	response->message_response_case = 0; // what it points to goes with the caller
	response->error_response = NULL;
}

static void send_error(struct query *query, Response *response, enum rpc_status status, const char *message)
{
	Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
	error.error_code = status;
	error.error_message = (char *)message;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
	response->error_response = &error;
	answer(query, response);
}

// The file alone: a client asks for its imports by their names.
static void send_file(struct query *query, Response *response, const struct descriptor_file *file)
{
	if (file == NULL) {
		send_error(query, response, RPC_NOT_FOUND, "this daemon's services have no such file");
		return;
	}
	ProtobufCBinaryData bytes = {.data = (uint8_t *)file->bytes, .len = file->size};
	Grpc__Reflection__V1__FileDescriptorResponse files = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
	files.n_file_descriptor_proto = 1;
	files.file_descriptor_proto = &bytes;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
	response->file_descriptor_response = &files;
	answer(query, response);
}

static void send_services(struct query *query, Response *response)
{
	Grpc__Reflection__V1__ServiceResponse services[MAXIMUM_SERVICES], *pointers[MAXIMUM_SERVICES];
	Grpc__Reflection__V1__ListServiceResponse list = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
	const char *name;
	for (; list.n_service < MAXIMUM_SERVICES &&
	       (name = descriptors_service(query->queries->descriptors, (uint32_t)list.n_service)) != NULL;
	     list.n_service++) {
		Grpc__Reflection__V1__ServiceResponse *service = &services[list.n_service];
		grpc__reflection__v1__service_response__init(service);
		service->name = (char *)name;
		pointers[list.n_service] = service;
	}
	list.service = pointers;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
	response->list_services_response = &list;
	answer(query, response);
}

// These services are proto3's: no message of theirs has extensions.
static void send_extension_numbers(struct query *query, Response *response, char *type)
{
	if (!descriptors_have_message(query->queries->descriptors, type)) {
		send_error(query, response, RPC_NOT_FOUND, "this daemon's services have no such message");
		return;
	}
	Grpc__Reflection__V1__ExtensionNumberResponse none = GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
	none.base_type_name = type;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
	response->all_extension_numbers_response = &none;
	answer(query, response);
}

static bool take(struct query *query, const struct rpc_incoming *incoming, struct error *error)
{
	Request *request = (Request *)rpc_incoming_unpack(
		incoming, &grpc__reflection__v1__server_reflection_request__descriptor, NULL, error);
	if (request == NULL)
		return false;
	const struct descriptors *descriptors = query->queries->descriptors;
	Response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	response.valid_host = request->host;
	response.original_request = request;
	switch (request->message_request_case) {
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
		send_file(query, &response, descriptors_find_file(descriptors, request->file_by_filename));
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
		send_file(query, &response, descriptors_find_symbol(descriptors, request->file_containing_symbol));
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
		send_file(query, &response, NULL);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
		send_extension_numbers(query, &response, request->all_extension_numbers_of_type);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
		send_services(query, &response);
		break;
	default:
		send_error(query, &response, RPC_INVALID_ARGUMENT, "unknown kind of request");
	}
	grpc__reflection__v1__server_reflection_request__free_unpacked(request, NULL);
	return true;
}

const struct query_kind query_reflection = {.take = take, .stays = true};
