// What the files of a stream link share: stream_link.c (what crosses it) and streams.c (its streams). Any thread, except where link.h says
// otherwise.
#pragma once

#include <pthread.h>

#include "common/rpc/protocol.h"
#include "stage_server/exchange/internal.h"

// A tensor that waits for a credit.
struct outgoing {
	uint64_t step;
	uint32_t number; // see link_send
	struct buffer *tensor;
};

struct connection {
	struct stream_link *link;
	uint32_t index;
	struct rpc_client *client; // of a dialled one
	struct rpc_stream *stream;
	bool stands;
};

struct stream_link {
	struct link base;
	uint32_t connections, chunk_bytes;
	struct mailbox *mailbox;

	pthread_mutex_t lock; // the rest
	struct connection connection[PROTOCOL_MAXIMUM_CONNECTIONS];
	uint32_t standing;
	uint32_t credits;         // tensors that the neighbour can still take
	struct outgoing *waiting; // [send_depth], a ring
	uint32_t waiting_first, waiting_count;
	uint32_t open_streams;
	bool closed; // no more events but `over`
	bool reported_lost;
	uint64_t arrived_bytes, arrived_ns; // in all, and when the last of them
};

static inline struct stream_link *stream_of(struct link *link)
{
	return (struct stream_link *)link;
}

// stream_link.c
// Reports the loss, once, and wakes whoever waits for a tensor, or for a buffer that the neighbour will give no credit for.
void stream_link_lose(struct stream_link *link, const struct error *error);
void stream_link_give_credits(struct stream_link *link, uint32_t tensors);

// streams.c
// A connection is up on both sides. The last one makes the link ready and tells the neighbour how much it may send.
void stream_link_stands(struct stream_link *link, uint32_t connection, bool accept);
bool stream_link_is_up(struct stream_link *link, uint32_t connection);
// We dialled it and have sent Open, which nobody has accepted yet.
bool stream_link_awaits_acceptance(struct stream_link *link, uint32_t connection);
