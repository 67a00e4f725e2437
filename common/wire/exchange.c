// See exchange.h.
#include "common/wire/exchange.h"

#include "common/wire/internal.h"
#include "penstock/v1/stage_server.pb-c.h"

static const struct field open_fields[] = {
	SAME(ExchangeOpen, exchange_open, protocol_version),
	SAME(ExchangeOpen, exchange_open, link_token),
	SAME(ExchangeOpen, exchange_open, connection),
};
static const struct codec open_codec = CODEC(penstock__v1__exchange_open__descriptor, exchange_open, open_fields);

static const struct codec accepted_codec = {.type = &penstock__v1__exchange_accepted__descriptor};

static const struct field chunk_fields[] = {
	SAME(TensorChunk, tensor_chunk, step),
	SAME(TensorChunk, tensor_chunk, micro_batch),
	ENUM(TensorChunk, tensor_chunk, kind, wire_tensor_kinds),
	{.kind = FIELD_32_BITS,
	 PLACE(TensorChunk, tensor_chunk, dtype, dtype)}, // the mailbox names what it does not expect
	ARRAY(TensorChunk, tensor_chunk, shape, shape, rank),
	SAME(TensorChunk, tensor_chunk, offset_bytes),
};
static const struct codec chunk_codec = CODEC(penstock__v1__tensor_chunk__descriptor, tensor_chunk, chunk_fields);

static const struct field credit_fields[] = {
	SAME(Credit, exchange_credit, tensors),
};
static const struct codec credit_codec = CODEC(penstock__v1__credit__descriptor, exchange_credit, credit_fields);

#define BODY(NAME_, theirs_, ours_, codec_)                                                                            \
	CASE(ExchangeMessage, wire_exchange, PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_##NAME_, theirs_, ours_,             \
	     EXCHANGE_##NAME_, codec_)
static const struct field exchange_fields[] = {
	BODY(OPEN, open, open, open_codec),
	BODY(ACCEPTED, accepted, kind, accepted_codec),
	BODY(CHUNK, chunk, chunk, chunk_codec),
	BODY(CREDIT, credit, credit, credit_codec),
};
const struct codec wire_exchange_codec = {.type = &penstock__v1__exchange_message__descriptor,
					  .size = sizeof(struct wire_exchange),
					  TABLE(exchange_fields),
					  .their_case = THEIRS(ExchangeMessage, body_case),
					  .our_case = OURS(wire_exchange, kind)};

struct wire_exchange *wire_exchange_read(const struct rpc_incoming *incoming, struct error *error)
{
	return wire_read(&wire_exchange_codec, incoming, error);
}

void wire_exchange_free(struct wire_exchange *message)
{
	wire_free(message);
}

bool wire_exchange_send(struct rpc_stream *stream, const struct wire_exchange *message, struct buffer *payload,
			size_t offset, size_t size)
{
	return wire_send(&wire_exchange_codec, message, stream, payload, offset, size);
}
