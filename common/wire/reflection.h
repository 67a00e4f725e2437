// grpc.reflection, v1 and v1alpha, whose messages are the same on the wire. Any thread.
#pragma once

#include "common/rpc/rpc.h"
#include "common/wire/descriptors.h"

enum reflection_kind {
	REFLECTION_UNKNOWN, // of a later version, or empty
	REFLECTION_FILE_BY_NAME,
	REFLECTION_FILE_CONTAINING_SYMBOL,
	REFLECTION_FILE_CONTAINING_EXTENSION,
	REFLECTION_EXTENSION_NUMBERS,
	REFLECTION_LIST_SERVICES,
};

struct wire_reflection {
	struct arena *arena; // what was read lies in it
	enum reflection_kind kind;
	const char *text;    // the file's name, the symbol or the message's type; "" of the others
	const void *message; // as it came: the answer quotes it
};

// What is answered: one of these.
struct reflection_answer {
	const struct descriptor_file *file; // alone: a client asks for its imports by their names
	const char *const *services;        // [service_count]
	uint32_t service_count;
	const char *type_without_extensions; // the message's type
	enum rpc_status status;              // where all others are missing: why
	const char *error;
};

// Returns owned; NULL with ERROR_PROTOCOL when the bytes are no request.
struct wire_reflection *wire_reflection_read(const struct rpc_incoming *incoming, struct error *error);
void wire_reflection_free(struct wire_reflection *request); // takes NULL
// False where the answer has more than `most_bytes`: nothing is sent then.
bool wire_reflection_send(struct rpc_stream *stream, const struct wire_reflection *request,
			  const struct reflection_answer *answer, size_t most_bytes, size_t *ret_bytes);
