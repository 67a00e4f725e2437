// The codec: a message is described once, by a table with a row for each of its fields, and is read and written by that table. The tables are in
// the files of the message families. Nobody outside this folder includes this.
//
// What was read is borrowed from the message where it can be: texts, bytes and arrays of numbers. All of it lives as long as the arena.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/job/bytes.h"
#include "common/rpc/rpc.h"
#include "common/wire/arena.h"

// The values of an enum: ours and the wire's. A number of the wire that is unknown is read as itself, so that whoever checks it can name
// it; where that is a value of ours, as -1.
struct enum_row {
	int ours, theirs;
};
struct enum_table {
	const struct enum_row *rows;
	size_t count;
};
int enum_read(const struct enum_table *table, int theirs);
int enum_write(const struct enum_table *table, int ours); // 0, the wire's "unspecified", for what is unknown
extern const struct enum_table wire_data_types, wire_layer_kinds, wire_instruction_kinds, wire_batch_kinds,
	wire_tensor_kinds,
	wire_health_states; // types.c

enum field_kind {
	FIELD_32_BITS, // a number, the same on both sides
	FIELD_64_BITS,
	FIELD_BOOL,
	FIELD_TEXT,  // const char *
	FIELD_BYTES, // struct byte_span
	FIELD_NAME,  // char[size]; ERROR_USAGE where it is longer
	FIELD_ENUM,
	FIELD_ARRAY, // of numbers or texts: pointer and count
	FIELD_PART,  // a message: pointer, NULL where it is missing; ERROR_PROTOCOL then, where `what` says so
	FIELD_TRIED, // a message: pointer, NULL where it is missing or refused; then the error is pointed to
	FIELD_WHOLE, // a message: the struct itself; ERROR_PROTOCOL where it is missing
	FIELD_LIST,  // messages: pointer and count
	FIELD_ROWS,  // messages: array of `size` structs, and count; ERROR_USAGE where there are more
	FIELD_CASE,  // a message of the oneof: the struct itself, in a union
	FIELD_OWN,   // by two functions of its own
};

struct field {
	enum field_kind kind;
	uint16_t theirs, ours;           // offsets: in the message, and in our struct
	uint16_t their_count, our_count; // of a size_t, and of an uint32_t
	uint16_t our_error;              // of a pointer
	uint16_t size;
	uint16_t their_case, our_case; // values
	const struct codec *codec;     // of messages
	const struct enum_table *values;
	const char *what; // for refusals
	bool (*read)(const void *message, void *ours, struct error *error);
	void (*write)(const void *ours, void *message);
};

struct codec {
	const ProtobufCMessageDescriptor *type;
	size_t size; // of our struct
	const struct field *fields;
	size_t count;
	uint16_t their_case, our_case; // offsets of enums, of messages with a oneof; 0: there is none
	// After the fields: what no single one says. Optional.
	bool (*check)(const void *message, void *ours, struct error *error);
	void (*explain)(const void *message, struct error *error); // a refusal of this message. Optional.
};

// Zeros in `ours` are set. False with an error, or when memory is out.
bool codec_read(const struct codec *codec, const void *message, void *ours, struct arena *arena, struct error *error);
// The message, in the arena; it borrows from `ours`. NULL: memory is out.
ProtobufCMessage *codec_write(const struct codec *codec, const void *ours, struct arena *arena);

const char *codec_case_name(const struct codec *codec, int our_case); // as in the contract; NULL: there is none

// The messages that streams carry. Our struct begins with a pointer to the arena that it lies in.
void *wire_read(const struct codec *codec, const struct rpc_incoming *incoming, struct error *error); // NULL: refused
void *wire_take(const struct codec *codec, ProtobufCMessage *message, struct error *error);           // takes `message`
void wire_free(void *ours);                                                                           // takes NULL
// As rpc_stream_send. The stream ends where memory is out.
bool wire_send(const struct codec *codec, const void *ours, struct rpc_stream *stream, struct buffer *payload,
	       size_t offset, size_t size);

// ---- Rows of the tables: M is the message's type without "Penstock__V1__", S the struct's without "struct"

#define WIRE_TYPE(M)          Penstock__V1__##M
#define THEIRS(M, member)     offsetof(WIRE_TYPE(M), member)
#define OURS(S, member)       offsetof(struct S, member)
#define OUR_MEMBER(S, member) (((struct S *)NULL)->member)
#define KIND_OF(member)                                                                                                \
	_Generic((member), uint32_t                                                                                    \
		 : FIELD_32_BITS, float                                                                                \
		 : FIELD_32_BITS, uint64_t                                                                             \
		 : FIELD_64_BITS, double                                                                               \
		 : FIELD_64_BITS, bool                                                                                 \
		 : FIELD_BOOL, const char *                                                                            \
		 : FIELD_TEXT, struct byte_span                                                                        \
		 : FIELD_BYTES)
#define PLACE(M, S, theirs_, ours_) .theirs = THEIRS(M, theirs_), .ours = OURS(S, ours_)
#define AS(M, S, theirs_, ours_)                                                                                       \
	{                                                                                                              \
		.kind = KIND_OF(OUR_MEMBER(S, ours_)), PLACE(M, S, theirs_, ours_)                                     \
	}
#define SAME(M, S, member) AS(M, S, member, member)
#define ENUM(M, S, member, table)                                                                                      \
	{                                                                                                              \
		.kind = FIELD_ENUM, PLACE(M, S, member, member), .values = &(table)                                    \
	}
#define NAME(M, S, member, what_)                                                                                      \
	{                                                                                                              \
		.kind = FIELD_NAME, PLACE(M, S, member, member), .size = sizeof(OUR_MEMBER(S, member)),                \
		.what = (what_)                                                                                        \
	}
#define COUNTED(kind_, M, S, theirs_, ours_, count_)                                                                   \
	.kind = (kind_), PLACE(M, S, theirs_, ours_), .their_count = THEIRS(M, n_##theirs_),                           \
	.our_count = OURS(S, count_)
#define ARRAY(M, S, theirs_, ours_, count_)                                                                            \
	{                                                                                                              \
		COUNTED(FIELD_ARRAY, M, S, theirs_, ours_, count_)                                                     \
	}
#define LIST(M, S, theirs_, ours_, count_, codec_)                                                                     \
	{                                                                                                              \
		COUNTED(FIELD_LIST, M, S, theirs_, ours_, count_), .codec = &(codec_)                                  \
	}
#define PART(M, S, member, codec_)                                                                                     \
	{                                                                                                              \
		.kind = FIELD_PART, PLACE(M, S, member, member), .codec = &(codec_)                                    \
	}
#define CASE(M, S, CASE_, theirs_, ours_, our_case_, codec_)                                                           \
	{                                                                                                              \
		.kind = FIELD_CASE, PLACE(M, S, theirs_, ours_), .their_case = (CASE_), .our_case = (our_case_),       \
		.codec = &(codec_)                                                                                     \
	}
// Each of common/metrics/phases.h.
#define PHASE(NAME_, name, M, S) AS(M, S, name##_ns, phase_ns[PHASE_##NAME_]),

#define TABLE(rows) .fields = (rows), .count = sizeof(rows) / sizeof((rows)[0])
#define CODEC(descriptor, S, rows)                                                                                     \
	{                                                                                                              \
		.type = &(descriptor), .size = sizeof(struct S), TABLE(rows)                                           \
	}
