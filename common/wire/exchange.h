// What crosses a boundary between two daemons (penstock.v1.ExchangeMessage). Any thread.
#pragma once

#include "common/job/bytes.h"
#include "common/job/tensor.h"
#include "common/rpc/rpc.h"

enum exchange_kind {
	EXCHANGE_UNKNOWN, // of a later protocol, or empty
	EXCHANGE_OPEN,
	EXCHANGE_ACCEPTED,
	EXCHANGE_CHUNK, // its values are the payload
	EXCHANGE_CREDIT,
};

struct exchange_open {
	uint32_t protocol_version;
	struct byte_span link_token;
	uint32_t connection; // 0 .. connections - 1
};

struct exchange_credit {
	uint32_t tensors; // that the receiver can take more
};

struct wire_exchange {
	struct arena *arena; // what was read lies in it; NULL in one that is sent
	enum exchange_kind kind;
	union {
		struct exchange_open open;
		struct tensor_chunk chunk;
		struct exchange_credit credit;
	};
};

// Returns owned, all that it points to with it; NULL with ERROR_PROTOCOL when the bytes are no such message.
struct wire_exchange *wire_exchange_read(const struct rpc_incoming *incoming, struct error *error);
void wire_exchange_free(struct wire_exchange *message); // takes NULL
// As rpc_stream_send; the message is borrowed until it returns.
bool wire_exchange_send(struct rpc_stream *stream, const struct wire_exchange *message, struct buffer *payload,
			size_t offset, size_t size);
