// common/wire's readers: whatever a message holds, it is refused, or taken and written as a message that reads as the same. The first byte
// chooses the message's type; the rest is the message.
#include <grpc/byte_buffer.h>
#include <string.h>

#include "common/wire/internal.h"
#include "common/wire/reflection.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate.h"
#include "tests/unit/rpc/incoming.h"

static const struct codec *const codecs[] = {
	&wire_request_codec,        &wire_response_codec,        &wire_exchange_codec,   &wire_describe_codec,
	&wire_health_request_codec, &wire_health_response_codec, &wire_reflection_codec,
};
enum { CODECS = sizeof(codecs) / sizeof(codecs[0]), MAXIMUM_BYTES = 4096 };

static const struct codec *codec_of(const uint8_t *data)
{
	return codecs[data[0] % CODECS];
}

// Returns owned, to wire_free; NULL: refused.
static void *read_buffer(const struct codec *codec, grpc_byte_buffer *buffer)
{
	struct rpc_incoming incoming;
	struct error error = {.code = ERROR_NONE};
	message_inspect(buffer, &incoming);
	void *ours = wire_read(codec, &incoming, &error);
	DEMAND(ours != NULL || error.code == ERROR_PROTOCOL);
	grpc_byte_buffer_destroy(buffer);
	return ours;
}

// What the struct is on the wire. Returns owned.
static uint8_t *pack(const struct codec *codec, const void *ours, size_t *ret_size)
{
	struct arena *arena = arena_create();
	const ProtobufCMessage *message = codec_write(codec, ours, arena);
	DEMAND(message != NULL);
	uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(message) + 1);
	*ret_size = protobuf_c_message_pack(message, bytes);
	arena_destroy(arena);
	return bytes;
}

static void check_again(const struct codec *codec, const void *ours)
{
	size_t size, again_size;
	uint8_t *bytes = pack(codec, ours, &size);
	void *again = read_buffer(codec, incoming_bytes(bytes, size, 0));
	DEMAND(again != NULL);
	uint8_t *again_bytes = pack(codec, again, &again_size);
	DEMAND(size == again_size && memcmp(bytes, again_bytes, size) == 0);
	wire_free(again);
	free(bytes);
	free(again_bytes);
}

static void check_answer(const struct wire_reflection *request)
{
	struct arena *arena = arena_create();
	DEMAND(wire_reflection_write(request, &(struct reflection_answer){.error = "no"}, arena) != NULL);
	arena_destroy(arena);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maximum, unsigned seed)
{
	if (size < 2)
		data[0] = (uint8_t)seed;
	size_t rest = size < 2 ? 0 : size - 1;
	return 1 + mutate_message(codec_of(data)->type, data + 1, rest, maximum - 1, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > MAXIMUM_BYTES)
		return 0;
	const struct codec *codec = codec_of(data);
	void *ours = read_buffer(codec, incoming_bytes(data + 1, size - 1, 0));
	if (ours != NULL && codec == &wire_reflection_codec)
		check_answer(ours);
	else if (ours != NULL)
		check_again(codec, ours);
	wire_free(ours);
	return 0;
}
