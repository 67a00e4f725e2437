// See codec.h.
#include "common/wire/codec.h"

#include <string.h>

enum { SEND_BYTES = 1024 }; // of the stack: enough for what has no long lists

int enum_read(const struct enum_table *table, int theirs)
{
	bool is_ours = false;
	for (size_t i = 0; i < table->count; i++) {
		if (table->rows[i].theirs == theirs)
			return table->rows[i].ours;
		is_ours |= table->rows[i].ours == theirs;
	}
	return is_ours ? -1 : theirs;
}

int enum_write(const struct enum_table *table, int ours)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->rows[i].ours == ours)
			return table->rows[i].theirs;
	return 0;
}

// Of whatever type.
static void *pointer_at(const void *place)
{
	void *pointer;
	memcpy(&pointer, place, sizeof(pointer));
	return pointer;
}

static void set_pointer(void *place, const void *pointer)
{
	memcpy(place, &pointer, sizeof(pointer));
}

// ---- Reading

static bool out_of_memory(const struct codec *codec, struct error *error)
{
	return error_set(error, ERROR_FAILED, "no memory for a %s", codec->type->name);
}

static bool read_name(const struct field *field, const char *from, char *into, struct error *error)
{
	if (strlen(from) >= field->size)
		return error_set(error, ERROR_USAGE, "%s \"%.40s...\" is longer than %d characters", field->what, from,
				 field->size - 1);
	strcpy(into, from);
	return true;
}

// Into a pointer of ours.
static bool read_part(const struct field *field, const void *from, void *into, struct arena *arena, struct error *error)
{
	if (from == NULL)
		return field->what == NULL || error_set(error, ERROR_PROTOCOL, "%s", field->what);
	void *part = arena_allocate(arena, field->codec->size);
	if (part == NULL)
		return out_of_memory(field->codec, error);
	if (!codec_read(field->codec, from, part, arena, error))
		return false;
	set_pointer(into, part);
	return true;
}

// Whoever reads the message decides when its refusal is told: something else may matter more.
static bool try_part(const struct field *field, const void *from, void *ours, struct arena *arena, struct error *error)
{
	struct error refusal = {.code = ERROR_NONE};
	if (read_part(field, from, (char *)ours + field->ours, arena, &refusal))
		return true;
	struct error *copy = arena_allocate(arena, sizeof(*copy));
	if (copy == NULL)
		return out_of_memory(field->codec, error);
	*copy = refusal;
	set_pointer((char *)ours + field->our_error, copy);
	return true;
}

static bool read_each(const struct field *field, const char *from, size_t count, char *into, struct arena *arena,
		      struct error *error)
{
	for (size_t i = 0; i < count; i++)
		if (!codec_read(field->codec, pointer_at(from + i * sizeof(void *)), into + i * field->codec->size,
				arena, error))
			return false;
	return true;
}

static bool read_list(const struct field *field, const char *from, size_t count, void *into, struct arena *arena,
		      struct error *error)
{
	if (count == 0)
		return true;
	char *items = arena_allocate(arena, count * field->codec->size); // what `from` takes already is as long
	if (items == NULL)
		return out_of_memory(field->codec, error);
	set_pointer(into, items);
	return read_each(field, from, count, items, arena, error);
}

static bool read_rows(const struct field *field, const char *from, size_t count, void *into, struct arena *arena,
		      struct error *error)
{
	if (count > field->size)
		return error_set(error, ERROR_USAGE, "%s is %zu, must be from 1 to %u", field->what, count,
				 field->size);
	return read_each(field, from, count, into, arena, error);
}

static bool read_field(const struct field *field, const void *message, void *ours, struct arena *arena,
		       struct error *error)
{
	const void *from = (const char *)message + field->theirs;
	void *into = (char *)ours + field->ours;
	size_t count = 0;
	if (field->their_count != 0) {
		count = *(const size_t *)((const char *)message + field->their_count);
		*(uint32_t *)((char *)ours + field->our_count) = (uint32_t)count;
	}
	switch (field->kind) {
	case FIELD_32_BITS:
		memcpy(into, from, sizeof(uint32_t));
		return true;
	case FIELD_64_BITS:
		memcpy(into, from, sizeof(uint64_t));
		return true;
	case FIELD_BOOL:
		*(bool *)into = *(const protobuf_c_boolean *)from != 0;
		return true;
	case FIELD_TEXT:
		set_pointer(into, pointer_at(from));
		return true;
	case FIELD_BYTES: {
		const ProtobufCBinaryData *bytes = from;
		*(struct byte_span *)into = (struct byte_span){bytes->data, bytes->len};
		return true;
	}
	case FIELD_NAME:
		return read_name(field, pointer_at(from), into, error);
	case FIELD_ENUM:
		*(int *)into = enum_read(field->values, *(const int *)from);
		return true;
	case FIELD_ARRAY:
		set_pointer(into, pointer_at(from));
		return true;
	case FIELD_PART:
		return read_part(field, pointer_at(from), into, arena, error);
	case FIELD_TRIED:
		return try_part(field, pointer_at(from), ours, arena, error);
	case FIELD_WHOLE:
		if (pointer_at(from) == NULL)
			return error_set(error, ERROR_PROTOCOL, "%s", field->what);
		return codec_read(field->codec, pointer_at(from), into, arena, error);
	case FIELD_LIST:
		return read_list(field, pointer_at(from), count, into, arena, error);
	case FIELD_ROWS:
		return read_rows(field, pointer_at(from), count, into, arena, error);
	case FIELD_CASE:
		return codec_read(field->codec, pointer_at(from), into, arena, error);
	case FIELD_OWN:
		return field->read(message, ours, error);
	}
	return true;
}

// Of a oneof only the member that is there.
static bool is_there(const struct codec *codec, const struct field *field, const void *message)
{
	return field->kind != FIELD_CASE ||
	       *(const int *)((const char *)message + codec->their_case) == field->their_case;
}

bool codec_read(const struct codec *codec, const void *message, void *ours, struct arena *arena, struct error *error)
{
	bool ok = true;
	for (size_t i = 0; i < codec->count && ok; i++) {
		const struct field *field = &codec->fields[i];
		if (!is_there(codec, field, message))
			continue;
		if (field->kind == FIELD_CASE)
			*(int *)((char *)ours + codec->our_case) = field->our_case;
		ok = read_field(field, message, ours, arena, error);
	}
	ok = ok && (codec->check == NULL || codec->check(message, ours, error));
	if (!ok && codec->explain != NULL)
		codec->explain(message, error);
	return ok;
}

// ---- Writing

static void *write_each(const struct field *field, const char *from, size_t count, struct arena *arena)
{
	ProtobufCMessage **items = count > 0 ? arena_allocate(arena, count * sizeof(ProtobufCMessage *)) : NULL;
	for (size_t i = 0; items != NULL && i < count; i++)
		items[i] = codec_write(field->codec, from + i * field->codec->size, arena);
	return items;
}

static void write_field(const struct field *field, const void *ours, void *message, struct arena *arena)
{
	const void *from = (const char *)ours + field->ours;
	void *into = (char *)message + field->theirs;
	size_t count = 0;
	if (field->their_count != 0) {
		count = *(const uint32_t *)((const char *)ours + field->our_count);
		*(size_t *)((char *)message + field->their_count) = count;
	}
	switch (field->kind) {
	case FIELD_32_BITS:
		memcpy(into, from, sizeof(uint32_t));
		break;
	case FIELD_64_BITS:
		memcpy(into, from, sizeof(uint64_t));
		break;
	case FIELD_BOOL:
		*(protobuf_c_boolean *)into = *(const bool *)from;
		break;
	case FIELD_TEXT:
		if (pointer_at(from) != NULL)
			set_pointer(into, pointer_at(from));
		break;
	case FIELD_BYTES: {
		const struct byte_span *bytes = from;
		*(ProtobufCBinaryData *)into = (ProtobufCBinaryData){bytes->size, (uint8_t *)bytes->data};
		break;
	}
	case FIELD_NAME:
		set_pointer(into, from);
		break;
	case FIELD_ENUM:
		*(int *)into = enum_write(field->values, *(const int *)from);
		break;
	case FIELD_ARRAY:
		set_pointer(into, pointer_at(from));
		break;
	case FIELD_PART:
	case FIELD_TRIED:
		if (pointer_at(from) != NULL)
			set_pointer(into, codec_write(field->codec, pointer_at(from), arena));
		break;
	case FIELD_WHOLE:
	case FIELD_CASE:
		set_pointer(into, codec_write(field->codec, from, arena));
		break;
	case FIELD_LIST:
		set_pointer(into, write_each(field, pointer_at(from), count, arena));
		break;
	case FIELD_ROWS:
		set_pointer(into, write_each(field, from, count, arena));
		break;
	case FIELD_OWN:
		field->write(ours, message);
		break;
	}
}

ProtobufCMessage *codec_write(const struct codec *codec, const void *ours, struct arena *arena)
{
	ProtobufCMessage *message = arena_allocate(arena, codec->type->sizeof_message);
	if (message == NULL)
		return NULL;
	protobuf_c_message_init(codec->type, message);
	for (size_t i = 0; i < codec->count; i++) {
		const struct field *field = &codec->fields[i];
		if (field->kind == FIELD_CASE) {
			if (*(const int *)((const char *)ours + codec->our_case) != field->our_case)
				continue;
			*(int *)((char *)message + codec->their_case) = field->their_case;
		}
		write_field(field, ours, message, arena);
	}
	return arena->failed ? NULL : message;
}

const char *codec_case_name(const struct codec *codec, int our_case)
{
	for (size_t i = 0; i < codec->count; i++)
		if (codec->fields[i].kind == FIELD_CASE && codec->fields[i].our_case == our_case)
			return protobuf_c_message_descriptor_get_field(codec->type, codec->fields[i].their_case)->name;
	return NULL;
}

// ---- Messages of streams

static void *read_in(struct arena *arena, const struct codec *codec, const ProtobufCMessage *message,
		     struct error *error)
{
	void *ours = arena_allocate(arena, codec->size);
	if (ours == NULL)
		out_of_memory(codec, error);
	else if (codec_read(codec, message, ours, arena, error))
		return memcpy(ours, &arena, sizeof(struct arena *));
	arena_destroy(arena);
	return NULL;
}

void *wire_read(const struct codec *codec, const struct rpc_incoming *incoming, struct error *error)
{
	struct arena *arena = arena_create();
	if (arena == NULL) {
		out_of_memory(codec, error);
		return NULL;
	}
	ProtobufCMessage *message = rpc_incoming_unpack(incoming, codec->type, &arena->allocator, error);
	if (message != NULL)
		return read_in(arena, codec, message, error);
	arena_destroy(arena);
	return NULL;
}

void *wire_take(const struct codec *codec, ProtobufCMessage *message, struct error *error)
{
	struct arena *arena = arena_create();
	if (arena == NULL) {
		protobuf_c_message_free_unpacked(message, NULL);
		out_of_memory(codec, error);
		return NULL;
	}
	arena->message = message;
	return read_in(arena, codec, message, error);
}

void wire_free(void *ours)
{
	if (ours != NULL)
		arena_destroy(*(struct arena **)ours);
}

bool wire_send(const struct codec *codec, const void *ours, struct rpc_stream *stream, struct buffer *payload,
	       size_t offset, size_t size)
{
	_Alignas(max_align_t) uint8_t first[SEND_BYTES];
	struct arena arena;
	arena_init(&arena, first, sizeof(first));
	const ProtobufCMessage *message = codec_write(codec, ours, &arena);
	bool ok = message != NULL && rpc_stream_send(stream, message, payload, offset, size);
	if (message == NULL)
		rpc_stream_finish(stream, RPC_RESOURCE_EXHAUSTED, "no memory for a message");
	arena_fini(&arena);
	return ok;
}
