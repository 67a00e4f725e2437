// See reflection.h.
#include "common/wire/reflection.h"

#include "common/wire/internal.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

enum { MAXIMUM_SERVICES = 16 };

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

// ---- The request

static void read_body(const Request *message, struct wire_reflection *request)
{
	request->text = "";
	switch (message->message_request_case) {
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
		request->kind = REFLECTION_FILE_BY_NAME;
		request->text = message->file_by_filename;
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
		request->kind = REFLECTION_FILE_CONTAINING_SYMBOL;
		request->text = message->file_containing_symbol;
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
		request->kind = REFLECTION_FILE_CONTAINING_EXTENSION;
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
		request->kind = REFLECTION_EXTENSION_NUMBERS;
		request->text = message->all_extension_numbers_of_type;
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
		request->kind = REFLECTION_LIST_SERVICES;
		break;
	default:
		request->kind = REFLECTION_UNKNOWN;
	}
}

static bool take_message(const void *message, void *ours, struct error *error)
{
	struct wire_reflection *request = ours;
	request->message = message;
	read_body(message, request);
	return true;
}

// The oneof is of texts, which the table's rows do not have.
const struct codec wire_reflection_codec = {.type = &grpc__reflection__v1__server_reflection_request__descriptor,
					    .size = sizeof(struct wire_reflection),
					    .check = take_message};

struct wire_reflection *wire_reflection_read(const struct rpc_incoming *incoming, struct error *error)
{
	return wire_read(&wire_reflection_codec, incoming, error);
}

void wire_reflection_free(struct wire_reflection *request)
{
	wire_free(request);
}

// ---- The answer, whose parts lie in `arena`

static void set_error(Response *response, const struct reflection_answer *answer, struct arena *arena)
{
	Grpc__Reflection__V1__ErrorResponse *error = arena_allocate(arena, sizeof(*error));
	if (error == NULL)
		return;
	grpc__reflection__v1__error_response__init(error);
	error->error_code = answer->status;
	error->error_message = (char *)answer->error;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
	response->error_response = error;
}

static void set_file(Response *response, const struct descriptor_file *file, struct arena *arena)
{
	Grpc__Reflection__V1__FileDescriptorResponse *files = arena_allocate(arena, sizeof(*files));
	ProtobufCBinaryData *bytes = arena_allocate(arena, sizeof(*bytes));
	if (files == NULL || bytes == NULL)
		return;
	grpc__reflection__v1__file_descriptor_response__init(files);
	*bytes = (ProtobufCBinaryData){.data = (uint8_t *)file->bytes, .len = file->size};
	files->n_file_descriptor_proto = 1;
	files->file_descriptor_proto = bytes;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
	response->file_descriptor_response = files;
}

static void set_services(Response *response, const struct reflection_answer *answer, struct arena *arena)
{
	uint32_t count = answer->service_count < MAXIMUM_SERVICES ? answer->service_count : MAXIMUM_SERVICES;
	Grpc__Reflection__V1__ListServiceResponse *list = arena_allocate(arena, sizeof(*list));
	Grpc__Reflection__V1__ServiceResponse *services = arena_allocate(arena, count * sizeof(*services));
	Grpc__Reflection__V1__ServiceResponse **pointers =
		arena_allocate(arena, count * sizeof(Grpc__Reflection__V1__ServiceResponse *));
	if (list == NULL || services == NULL || pointers == NULL)
		return;
	grpc__reflection__v1__list_service_response__init(list);
	for (uint32_t i = 0; i < count; i++) {
		grpc__reflection__v1__service_response__init(&services[i]);
		services[i].name = (char *)answer->services[i];
		pointers[i] = &services[i];
	}
	list->n_service = count;
	list->service = pointers;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
	response->list_services_response = list;
}

static void set_extension_numbers(Response *response, const char *type, struct arena *arena)
{
	Grpc__Reflection__V1__ExtensionNumberResponse *none = arena_allocate(arena, sizeof(*none));
	if (none == NULL)
		return;
	grpc__reflection__v1__extension_number_response__init(none);
	none->base_type_name = (char *)type;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
	response->all_extension_numbers_response = none;
}

ProtobufCMessage *wire_reflection_write(const struct wire_reflection *request, const struct reflection_answer *answer,
					struct arena *arena)
{
	Response *response = arena_allocate(arena, sizeof(*response));
	if (response == NULL)
		return NULL;
	grpc__reflection__v1__server_reflection_response__init(response);
	response->original_request = (Request *)request->message;
	response->valid_host = response->original_request->host;
	if (answer->file != NULL)
		set_file(response, answer->file, arena);
	else if (answer->services != NULL)
		set_services(response, answer, arena);
	else if (answer->type_without_extensions != NULL)
		set_extension_numbers(response, answer->type_without_extensions, arena);
	else
		set_error(response, answer, arena);
	return arena->failed ? NULL : &response->base;
}

bool wire_reflection_send(struct rpc_stream *stream, const struct wire_reflection *request,
			  const struct reflection_answer *answer, size_t most_bytes, size_t *ret_bytes)
{
	_Alignas(max_align_t) uint8_t first[1024];
	struct arena arena;
	arena_init(&arena, first, sizeof(first));
	const ProtobufCMessage *message = wire_reflection_write(request, answer, &arena);
	*ret_bytes = message != NULL ? protobuf_c_message_get_packed_size(message) : 0;
	bool fits = message != NULL && *ret_bytes <= most_bytes;
	if (fits)
		rpc_stream_send(stream, message, NULL, 0, 0);
	arena_fini(&arena);
	return fits;
}
