// See coverage.h.
#include "tests/unit/wire/coverage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <grpc/byte_buffer.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"
#include "tests/unit/wire/text.h"

enum { MAXIMUM_FIELDS = 512 };

static const ProtobufCFieldDescriptor *covered[MAXIMUM_FIELDS];
static size_t covered_count;

static bool is_covered(const ProtobufCFieldDescriptor *field)
{
	for (size_t i = 0; i < covered_count; i++)
		if (covered[i] == field)
			return true;
	return false;
}

static void cover(const ProtobufCMessage *message);

static void cover_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	static const uint8_t zeros[sizeof(ProtobufCBinaryData)];
	const char *member = (const char *)message + field->offset;
	const char *quantifier = (const char *)message + field->quantifier_offset;
	bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
	bool oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
	size_t count = repeated ? *(const size_t *)(const void *)quantifier : 1;
	if (oneof && *(const int *)(const void *)quantifier != (int)field->id)
		return;
	size_t size = field->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData) : 4;
	bool is_text = field->type == PROTOBUF_C_TYPE_STRING && !repeated;
	if (field->type == PROTOBUF_C_TYPE_UINT64 || field->type == PROTOBUF_C_TYPE_DOUBLE ||
	    field->type == PROTOBUF_C_TYPE_MESSAGE)
		size = 8;
	if (count == 0 || (!repeated && memcmp(member, zeros, size) == 0) ||
	    (is_text && **(char *const *)(const void *)member == '\0'))
		return;
	if (!is_covered(field) && covered_count < MAXIMUM_FIELDS)
		covered[covered_count++] = field;
	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return;
	for (size_t i = 0; i < count; i++)
		cover(repeated ? (*(ProtobufCMessage *const *const *)(const void *)member)[i]
			       : *(ProtobufCMessage *const *)(const void *)member);
}

static void cover(const ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++)
		cover_field(message, &message->descriptor->fields[i]);
}

void demand_all_fields(const ProtobufCMessageDescriptor *type)
{
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		if (field->id == RPC_PAYLOAD_FIELD && field->type == PROTOBUF_C_TYPE_BYTES) // which rpc takes out
			continue;
		if (!is_covered(field))
			fail_msg("no sample sets %s of %s: is it missing in the codec's table?", field->name,
				 type->name);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			demand_all_fields(field->descriptor);
	}
}

static void demand_text(const ProtobufCMessage *message, const char *expected)
{
	assert_non_null(message);
	char *text = message_text(message);
	if (strcmp(text, expected) != 0)
		fail_msg("written:\n%s\nexpected:\n%s", text, expected);
	free(text);
}

void *read_bytes(const struct codec *codec, const ProtobufCMessage *message, struct error *error)
{
	struct rpc_incoming incoming;
	grpc_byte_buffer *encoded = message_encode(message, NULL, 0, 0);
	message_inspect(encoded, &incoming);
	void *ours = wire_read(codec, &incoming, error);
	grpc_byte_buffer_destroy(encoded);
	return ours;
}

void *round_trip(const struct codec *codec, const void *sample, const char *expected)
{
	struct error error = {0};
	uint8_t first[64]; // so that the arena grows
	struct arena arena;
	arena_init(&arena, first, sizeof(first) / 16 * 16);
	const ProtobufCMessage *message = codec_write(codec, sample, &arena);
	demand_text(message, expected);
	cover(message);
	void *ours = read_bytes(codec, message, &error);
	if (ours == NULL)
		fail_msg("%s", error.message);
	demand_text(codec_write(codec, ours, &arena), expected);
	arena_fini(&arena);
	return ours;
}
