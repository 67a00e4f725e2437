// common/rpc's codec: a message that is taken is the same however it is cut into slices, its payload is its last bytes, and what is
// encoded from it is taken as the same message. The first byte chooses the message's type, the second the slices' length.
#include <grpc/byte_buffer.h>
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "penstock/v1/stage_server.pb-c.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/rpc/incoming.h"

static const ProtobufCMessageDescriptor *const types[] = {
	&penstock__v1__session_request__descriptor,   &penstock__v1__session_response__descriptor,
	&penstock__v1__exchange_message__descriptor,  &penstock__v1__describe_request__descriptor,
	&penstock__v1__describe_response__descriptor, &penstock__v1__profile_request__descriptor,
	&penstock__v1__profile_response__descriptor,  &grpc__health__v1__health_check_request__descriptor,
};
enum { TYPES = sizeof(types) / sizeof(types[0]), MAXIMUM_BYTES = 4096 };

struct taken {
	ProtobufCMessage *header; // NULL: refused
	uint8_t *packed;
	size_t packed_bytes;
	struct buffer *payload;
	struct error error;
};

static struct taken take(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type, size_t size)
{
	struct taken taken = {0};
	struct rpc_incoming incoming;
	message_inspect(buffer, &incoming);
	DEMAND(incoming.total_bytes == size);
	taken.header = rpc_incoming_unpack(&incoming, type, NULL, &taken.error);
	DEMAND(taken.header != NULL || taken.error.code == ERROR_PROTOCOL);
	if (incoming.malformed == NULL) {
		DEMAND(incoming.header_bytes <= incoming.payload_offset &&
		       incoming.header_bytes <= RPC_MAXIMUM_HEADER_BYTES);
		DEMAND(incoming.payload_offset + incoming.payload_bytes == size);
	} else {
		DEMAND(taken.header == NULL && rpc_incoming_payload_size(&incoming) == 0);
	}
	taken.payload = buffer_create(rpc_incoming_payload_size(&incoming));
	rpc_incoming_copy_payload(&incoming, taken.payload->data);
	if (taken.header != NULL) {
		taken.packed_bytes = protobuf_c_message_get_packed_size(taken.header);
		taken.packed = malloc(taken.packed_bytes + 1);
		DEMAND(protobuf_c_message_pack(taken.header, taken.packed) == taken.packed_bytes);
	}
	grpc_byte_buffer_destroy(buffer);
	return taken;
}

static void release(struct taken *taken)
{
	if (taken->header != NULL)
		protobuf_c_message_free_unpacked(taken->header, NULL);
	free(taken->packed);
	buffer_unref(taken->payload);
}

static void demand_same(const struct taken *a, const struct taken *b)
{
	DEMAND(a->payload->size == b->payload->size &&
	       memcmp(a->payload->data, b->payload->data, a->payload->size) == 0);
	DEMAND(a->packed_bytes == b->packed_bytes && memcmp(a->packed, b->packed, a->packed_bytes) == 0);
}

// Not so a field of number 0: protobuf-c takes one whose tag is written in two bytes for an unknown field, writes it in one, and
// refuses that. Nothing that came from outside is sent on.
static bool can_be_packed(const struct taken *taken)
{
	ProtobufCMessage *again =
		protobuf_c_message_unpack(taken->header->descriptor, NULL, taken->packed_bytes, taken->packed);
	if (again != NULL)
		protobuf_c_message_free_unpacked(again, NULL);
	return again != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > MAXIMUM_BYTES)
		return 0;
	const ProtobufCMessageDescriptor *type = types[data[0] % TYPES];
	size_t cut = 1 + data[1];
	struct taken whole = take(incoming_bytes(data + 2, size - 2, 0), type, size - 2);
	struct taken cut_up = take(incoming_bytes(data + 2, size - 2, cut), type, size - 2);
	DEMAND((whole.header == NULL) == (cut_up.header == NULL));
	DEMAND(strcmp(whole.error.message, cut_up.error.message) == 0);
	if (whole.header != NULL)
		demand_same(&whole, &cut_up);
	if (whole.header != NULL && can_be_packed(&whole)) {
		grpc_byte_buffer *encoded = message_encode(whole.header, whole.payload, 0, whole.payload->size);
		struct taken again = take(encoded, type, grpc_byte_buffer_length(encoded));
		DEMAND(again.header != NULL);
		demand_same(&whole, &again);
		release(&again);
	}
	release(&whole);
	release(&cut_up);
	return 0;
}
