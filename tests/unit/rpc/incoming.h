// Messages as they arrive: bytes cut into slices, for the tests of whatever takes a struct rpc_incoming.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"

// `cut`: bytes per slice; 0: one slice.
static inline grpc_byte_buffer *incoming_bytes(const uint8_t *bytes, size_t size, size_t cut)
{
	grpc_slice slices[4096];
	size_t count = 0;
	for (size_t at = 0; at < size; count++) {
		size_t part = cut == 0 || size - at < cut ? size - at : cut;
		slices[count] = grpc_slice_from_copied_buffer((const char *)bytes + at, part);
		at += part;
	}
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(slices, count);
	for (size_t i = 0; i < count; i++)
		grpc_slice_unref(slices[i]);
	return buffer;
}

// A message of nothing but a payload.
static inline grpc_byte_buffer *incoming_payload(const void *payload, size_t size)
{
	uint8_t *bytes = malloc(size + 8);
	size_t length = 0;
	bytes[length++] = RPC_PAYLOAD_FIELD << 3 | 2;
	for (size_t rest = size;; rest >>= 7) {
		bytes[length++] = (uint8_t)((rest & 0x7f) | (rest >= 0x80 ? 0x80 : 0));
		if (rest < 0x80)
			break;
	}
	memcpy(bytes + length, payload, size);
	grpc_byte_buffer *buffer = incoming_bytes(bytes, length + size, 0);
	free(bytes);
	return buffer;
}
