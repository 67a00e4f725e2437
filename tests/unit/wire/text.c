// See text.h.
#include "tests/unit/wire/text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static void print_message(FILE *out, const ProtobufCMessage *message);

static size_t element_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_FLOAT:
		return 4;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 8;
	}
}

static void print_bytes(FILE *out, const ProtobufCBinaryData *bytes)
{
	for (size_t i = 0; i < bytes->len; i++)
		fprintf(out, "%02x", bytes->data[i]);
}

static void print_enum(FILE *out, const ProtobufCFieldDescriptor *field, int number)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(field->descriptor, number);
	if (value != NULL)
		fprintf(out, "%s", value->name);
	else
		fprintf(out, "%d", number);
}

static void print_value(FILE *out, const ProtobufCFieldDescriptor *field, const void *value)
{
	fprintf(out, "%s%s", field->name, field->type == PROTOBUF_C_TYPE_MESSAGE ? " " : ": ");
	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT32:
		fprintf(out, "%u", *(const uint32_t *)value);
		break;
	case PROTOBUF_C_TYPE_INT32:
		fprintf(out, "%d", *(const int32_t *)value);
		break;
	case PROTOBUF_C_TYPE_UINT64:
		fprintf(out, "%" PRIu64, *(const uint64_t *)value);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		fprintf(out, "%g", (double)*(const float *)value);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		fprintf(out, "%g", *(const double *)value);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		fprintf(out, "%s", *(const protobuf_c_boolean *)value ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_ENUM:
		print_enum(out, field, *(const int *)value);
		break;
	case PROTOBUF_C_TYPE_STRING:
		fprintf(out, "\"%s\"", *(char *const *)value);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		print_bytes(out, value);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		print_message(out, *(ProtobufCMessage *const *)value);
		break;
	default:
		fprintf(out, "?");
	}
	fprintf(out, " ");
}

static bool is_set(const ProtobufCFieldDescriptor *field, const void *member, const int *which)
{
	static const uint8_t zeros[16];
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
		return *which == (int)field->id;
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return *(char *const *)member != NULL && **(char *const *)member != '\0';
	case PROTOBUF_C_TYPE_BYTES:
		return ((const ProtobufCBinaryData *)member)->len > 0;
	default:
		return __builtin_memcmp(member, zeros, element_size(field->type)) != 0;
	}
}

static void print_message(FILE *out, const ProtobufCMessage *message)
{
	fprintf(out, "{ ");
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		const char *member = (const char *)message + field->offset;
		const void *quantifier = (const char *)message + field->quantifier_offset;
		size_t size = element_size(field->type);
		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			for (size_t k = 0; k < *(const size_t *)quantifier; k++)
				print_value(out, field, *(char *const *)member + k * size);
		else if (is_set(field, member, quantifier))
			print_value(out, field, member);
	}
	fprintf(out, "}");
}

char *message_text(const ProtobufCMessage *message)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	print_message(out, message);
	fclose(out);
	return text;
}
