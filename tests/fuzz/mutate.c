// See mutate.h.
#include "tests/fuzz/mutate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maximum);

static uint32_t below(unsigned *seed, size_t count)
{
	return (uint32_t)((size_t)rand_r(seed) % count);
}

static void change_number(void *number, size_t size, unsigned *seed)
{
	static const uint64_t interesting[] = {0,   1,    2,     3,     63,      64,         65,        255,
					       256, 4096, 65535, 65536, 1 << 24, UINT32_MAX, UINT64_MAX};
	uint64_t value = 0;
	memcpy(&value, number, size);
	switch (below(seed, 3)) {
	case 0:
		value += below(seed, 9) - UINT64_C(4);
		break;
	case 1:
		value = interesting[below(seed, sizeof(interesting) / sizeof(interesting[0]))];
		break;
	case 2:
		value ^= UINT64_C(1) << below(seed, 8 * size);
		break;
	}
	memcpy(number, &value, size);
}

static size_t number_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_FLOAT:
		return 4;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 0;
	}
}

static void change(ProtobufCMessage *message, unsigned *seed);

static void change_list(ProtobufCMessage **items, size_t *count, unsigned *seed)
{
	uint32_t i = below(seed, *count), k = below(seed, *count);
	ProtobufCMessage *moved = items[i];
	switch (below(seed, 4)) {
	case 0:
		items[i] = items[k];
		items[k] = moved;
		break;
	case 1:
		protobuf_c_message_free_unpacked(moved, NULL);
		memmove(items + i, items + i + 1, (--*count - i) * sizeof(*items));
		break;
	default:
		change(moved, seed);
	}
}

static void change(ProtobufCMessage *message, unsigned *seed)
{
	if (message->descriptor->n_fields == 0) // a message that says all by its kind, such as Close
		return;
	const ProtobufCFieldDescriptor *field =
		&message->descriptor->fields[below(seed, message->descriptor->n_fields)];
	void *member = (char *)message + field->offset;
	size_t size = number_size(field->type), *count = (size_t *)((char *)message + field->quantifier_offset);
	bool oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
	if (oneof && *(const int *)(const void *)count != (int)field->id) // another member of the union is there
		return;
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		if (*count > 0 && field->type == PROTOBUF_C_TYPE_MESSAGE)
			change_list(*(ProtobufCMessage ***)member, count, seed);
		else if (*count > 0 && size > 0)
			change_number(*(uint8_t **)member + below(seed, *count) * size, size, seed);
	} else if (field->type == PROTOBUF_C_TYPE_MESSAGE && *(ProtobufCMessage **)member != NULL) {
		change(*(ProtobufCMessage **)member, seed);
	} else if (field->type == PROTOBUF_C_TYPE_BOOL) {
		*(protobuf_c_boolean *)member = !*(protobuf_c_boolean *)member;
	} else if (size > 0) {
		change_number(member, size, seed);
	}
}

size_t mutate_message(const ProtobufCMessageDescriptor *type, uint8_t *data, size_t size, size_t maximum, unsigned seed)
{
	ProtobufCMessage *message = below(&seed, 8) > 0 ? protobuf_c_message_unpack(type, NULL, size, data) : NULL;
	if (message == NULL)
		return LLVMFuzzerMutate(data, size, maximum);
	for (uint32_t changes = 1 + below(&seed, 3); changes > 0; changes--)
		change(message, &seed);
	size_t packed = protobuf_c_message_get_packed_size(message);
	if (packed <= maximum)
		size = protobuf_c_message_pack(message, data);
	protobuf_c_message_free_unpacked(message, NULL);
	return size;
}
