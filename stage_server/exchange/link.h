// The way to one neighbour, a stage or another replica of one's own, over which tensors go out and come in. Two kinds: a stream link's tensors cross the network on
// `connections` Exchange streams, both ways held back by credits (stream_link.c); the upstream stage opens the streams
// (link_dial), the downstream one is given them (link_adopt) when somebody shows its token. A local link's are handed over to another
// stage of this daemon, which reads them where the device wrote them (local_link.c).
//
// Threads: dial, adopt, accept, join and close from the session's; create from the executor's; take and receive from one, the
// executor's or the reducer's; flush from the executor's; send and release
// from any, in order; ref and unref from any. Events run on gRPC's threads, on the neighbour's, or inside link_dial,
// link_accept, link_join and link_close.
#pragma once

#include "common/base/buffer.h"
#include "common/job/tensor.h"
#include "common/metrics/metrics.h"
#include "common/rpc/rpc.h"
#include "stage_server/exchange/mailbox.h"

struct link;

struct link_events {
	void (*ready)(struct link *link, void *user); // every connection stands, or it was joined
	// Once, unless link_close came first: the neighbour is gone. `error` NULL: it left in good order.
	void (*lost)(struct link *link, const struct error *error, void *user);
	// Once, after link_close: its streams are over, too. The last event.
	void (*over)(struct link *link, void *user);
};

struct link_counters {
	struct metric *sent_bytes, *sent_messages, *received_bytes, *received_messages;
	// The network's pace, apart from the neighbour's: from the first of a tensor's chunks to its last, and what came after the first.
	struct metric *receiving_ns, *receiving_bytes;
};

struct link_options {
	bool local;
	struct mailbox_options incoming; // of a local link only the shape, which is also that of what goes out
	enum tensor_kind outgoing;
	uint32_t send_depth; // tensors that may be on their way out at once; 0: none goes out
	const struct buffer_memory
		*memory; // of outgoing tensors; of a local link, the neighbour's device reads them, too
	struct link_counters counters;
	const struct link_events *events;
	void *user; // valid until `over`
};

// Allocates the mailbox and the pool of outgoing tensors. Returns owned.
bool link_create(const struct link_options *options, struct link **ret_link, struct error *error);
uint64_t link_bytes(const struct link_options *options); // what it allocates

// Two local links of this daemon, of neighbouring stages or replicas, become one way. ERROR_PROTOCOL where either is none, or joined already, or
// their tensors' shapes differ.
bool link_join(struct link *upstream, struct link *downstream, struct error *error);

// The rest, to link_handle_closed, is of stream links. ERROR_PROTOCOL for a local one.
// Opens the streams to the next stage's daemon, over TLS unless `tls` is NULL; `token` has PROTOCOL_TOKEN_BYTES.
bool link_dial(struct link *link, const char *address, struct rpc_tls *tls, const uint8_t *token, struct error *error);
// Takes a stream that the previous stage opened as connection `connection`; ERROR_PROTOCOL when there is no such
// connection, it stands already, or the link is closed. From then on its messages and its end must come to link_handle_message and
// link_handle_closed; link_accept answers it, once that is arranged.
bool link_adopt(struct link *link, struct rpc_stream *stream, uint32_t connection, struct error *error);
void link_accept(struct link *link, uint32_t connection);
void link_handle_message(struct link *link, struct rpc_stream *stream, uint32_t connection,
			 const struct rpc_incoming *incoming);
void link_handle_closed(struct link *link, uint32_t connection, enum rpc_status status, const char *detail);

// A place for an outgoing tensor; waits for one that is still on its way out. NULL once the link is closed or the
// neighbour is gone. Returns owned.
struct buffer *link_take_buffer(struct link *link);
// Waits until all tensors that were given have left, or the link is closed, or the neighbour gone.
void link_flush(struct link *link);
// Takes `tensor`. Sent when the neighbour has given a credit; never blocks.
// `number` is the tensor's in the step: its micro-batch, or of a sum its piece.
void link_send(struct link *link, uint64_t step, uint32_t number, struct buffer *tensor);
enum mailbox_status link_receive(struct link *link, const void **ret_values);
void link_release(struct link *link); // done with the first that link_receive gave and that was not released yet

// The streams end (in good order, or cancelled), the executor's waits return, and `over` is the only event that still
// comes. Does not block. May be called again, to cancel what does not end in good order.
void link_close(struct link *link, bool in_good_order);
// The executor's waits return now and from here on, as after link_close, and nothing else changes: its device failed, and what the
// neighbour waits for will never be sent. Any thread.
void link_wake(struct link *link);
struct link_traffic link_traffic(const struct link *link); // of tensors, since it was created; any thread
void link_ref(struct link *link);
void link_unref(struct link *link); // takes NULL; freed when the streams are over too
