// The codec. On the wire a message is one protobuf message; its payload, where it has one, is field 15 and the last.
// Sending: the header is packed into one small slice that ends with the payload's tag and length, and the payload is a
// second slice over the tensor's own memory. Receiving: the top-level fields are walked to find the payload, the header
// alone is unpacked, and the payload is copied once, from gRPC's slices to where it belongs.
#include "common/rpc/internal.h"

#include <stdlib.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64_BIT = 1, WIRE_LENGTH = 2, WIRE_32_BIT = 5, VARINT_MAXIMUM_BYTES = 10 };

static void payload_release(void *buffer)
{
	buffer_unref(buffer);
}

static size_t varint_encode(uint64_t value, uint8_t *into)
{
	size_t count = 0;
	while (value >= 0x80) {
		into[count++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	into[count++] = (uint8_t)value;
	return count;
}

grpc_byte_buffer *message_encode(const ProtobufCMessage *header, struct buffer *payload, size_t offset, size_t size)
{
	size_t packed = protobuf_c_message_get_packed_size(header);
	uint8_t tail[1 + VARINT_MAXIMUM_BYTES];
	size_t tail_bytes = 0;
	if (payload != NULL && size > 0) {
		tail[0] = RPC_PAYLOAD_FIELD << 3 | WIRE_LENGTH;
		tail_bytes = 1 + varint_encode(size, tail + 1);
	}
	grpc_slice slices[2];
	slices[0] = grpc_slice_malloc(packed + tail_bytes);
	protobuf_c_message_pack(header, GRPC_SLICE_START_PTR(slices[0]));
	memcpy(GRPC_SLICE_START_PTR(slices[0]) + packed, tail, tail_bytes);
	size_t count = 1;
	if (tail_bytes > 0)
		slices[count++] = grpc_slice_new_with_user_data(payload->data + offset, size, payload_release,
								buffer_ref(payload));
	grpc_byte_buffer *encoded = grpc_raw_byte_buffer_create(slices, count);
	for (size_t i = 0; i < count; i++)
		grpc_slice_unref(slices[i]);
	return encoded;
}

// A place in the slices.
struct cursor {
	const struct rpc_incoming *incoming;
	size_t slice, within, position;
};

static bool cursor_byte(struct cursor *cursor, uint8_t *ret_byte)
{
	const struct rpc_incoming *incoming = cursor->incoming;
	while (cursor->slice < incoming->slice_count &&
	       cursor->within == GRPC_SLICE_LENGTH(incoming->slices[cursor->slice])) {
		cursor->slice++;
		cursor->within = 0;
	}
	if (cursor->slice == incoming->slice_count)
		return false;
	*ret_byte = GRPC_SLICE_START_PTR(incoming->slices[cursor->slice])[cursor->within++];
	cursor->position++;
	return true;
}

static bool cursor_varint(struct cursor *cursor, uint64_t *ret_value)
{
	uint64_t value = 0;
	for (int i = 0; i < VARINT_MAXIMUM_BYTES; i++) {
		uint8_t byte;
		if (!cursor_byte(cursor, &byte))
			return false;
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if ((byte & 0x80) == 0) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

static bool cursor_skip(struct cursor *cursor, uint64_t count)
{
	const struct rpc_incoming *incoming = cursor->incoming;
	if (count > incoming->total_bytes - cursor->position)
		return false;
	cursor->position += count;
	while (count > 0) {
		size_t rest = GRPC_SLICE_LENGTH(incoming->slices[cursor->slice]) - cursor->within;
		size_t part = count < rest ? count : rest;
		cursor->within += part;
		count -= part;
		if (count > 0) {
			cursor->slice++;
			cursor->within = 0;
		}
	}
	return true;
}

// Walks one field. Sets ret_is_payload and leaves the cursor at the payload's first byte.
static const char *cursor_field(struct cursor *cursor, bool *ret_is_payload, uint64_t *ret_length)
{
	uint64_t tag, length = 0;
	if (!cursor_varint(cursor, &tag) || tag >> 3 == 0)
		return "a field's tag is not a number, or is cut off";
	switch (tag & 7) {
	case WIRE_VARINT:
		return cursor_varint(cursor, &length) ? NULL : "a number is cut off";
	case WIRE_64_BIT:
		return cursor_skip(cursor, 8) ? NULL : "a 64-bit field is cut off";
	case WIRE_32_BIT:
		return cursor_skip(cursor, 4) ? NULL : "a 32-bit field is cut off";
	case WIRE_LENGTH:
		if (!cursor_varint(cursor, &length) || length > cursor->incoming->total_bytes - cursor->position)
			return "a field is longer than the message";
		*ret_is_payload = tag >> 3 == RPC_PAYLOAD_FIELD;
		*ret_length = length;
		if (!*ret_is_payload)
			cursor_skip(cursor, length);
		return NULL;
	default:
		return "a field has an unknown wire type";
	}
}

void message_inspect(const grpc_byte_buffer *buffer, struct rpc_incoming *ret_incoming)
{
	const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
	struct rpc_incoming *incoming = ret_incoming;
	*incoming = (struct rpc_incoming){
		.slices = slices->slices, .slice_count = slices->count, .total_bytes = slices->length};
	if (buffer->type != GRPC_BB_RAW || buffer->data.raw.compression != GRPC_COMPRESS_NONE) {
		incoming->malformed = "it is compressed";
		return;
	}
	struct cursor cursor = {.incoming = incoming};
	while (cursor.position < incoming->total_bytes) {
		bool is_payload = false;
		uint64_t length = 0;
		size_t before = cursor.position;
		incoming->malformed = cursor_field(&cursor, &is_payload, &length);
		if (incoming->malformed != NULL)
			return;
		if (!is_payload)
			continue;
		incoming->header_bytes = before;
		incoming->payload_offset = cursor.position;
		incoming->payload_bytes = length;
		if (cursor.position + length != incoming->total_bytes)
			incoming->malformed = "the payload is not the message's last field";
		if (before > RPC_MAXIMUM_HEADER_BYTES)
			incoming->malformed = "its header is longer than 1 MiB";
		return;
	}
	incoming->header_bytes = incoming->payload_offset = incoming->total_bytes;
	if (incoming->header_bytes > RPC_MAXIMUM_HEADER_BYTES)
		incoming->malformed = "its header is longer than 1 MiB";
}

static void copy_range(const struct rpc_incoming *incoming, size_t offset, size_t size, uint8_t *destination)
{
	for (size_t i = 0; i < incoming->slice_count && size > 0; i++) {
		size_t length = GRPC_SLICE_LENGTH(incoming->slices[i]);
		if (offset >= length) {
			offset -= length;
			continue;
		}
		size_t part = length - offset < size ? length - offset : size;
		memcpy(destination, GRPC_SLICE_START_PTR(incoming->slices[i]) + offset, part);
		destination += part;
		size -= part;
		offset = 0;
	}
}

ProtobufCMessage *rpc_incoming_unpack(const struct rpc_incoming *incoming, const ProtobufCMessageDescriptor *type,
				      ProtobufCAllocator *allocator, struct error *error)
{
	if (incoming->malformed != NULL) {
		error_set(error, ERROR_PROTOCOL, "not a %s: %s", type->name, incoming->malformed);
		return NULL;
	}
	ProtobufCMessage *message;
	if (incoming->slice_count > 0 && GRPC_SLICE_LENGTH(incoming->slices[0]) >= incoming->header_bytes) {
		message = protobuf_c_message_unpack(type, allocator, incoming->header_bytes,
						    GRPC_SLICE_START_PTR(incoming->slices[0]));
	} else {
		uint8_t *header = malloc(incoming->header_bytes + 1);
		if (header == NULL) {
			error_set(error, ERROR_FAILED, "no memory for a %s", type->name);
			return NULL;
		}
		copy_range(incoming, 0, incoming->header_bytes, header);
		message = protobuf_c_message_unpack(type, allocator, incoming->header_bytes, header);
		free(header);
	}
	if (message == NULL)
		error_set(error, ERROR_PROTOCOL, "not a %s: its fields have other types", type->name);
	return message;
}

size_t rpc_incoming_payload_size(const struct rpc_incoming *incoming)
{
	return incoming->malformed == NULL ? incoming->payload_bytes : 0;
}

void rpc_incoming_copy_payload(const struct rpc_incoming *incoming, void *destination)
{
	copy_range(incoming, incoming->payload_offset, rpc_incoming_payload_size(incoming), destination);
}
