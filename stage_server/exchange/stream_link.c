// The way to a neighbour, a stage or a replica, over the network: tensors and credits. Chunk c of a tensor goes over connection
// c % connections; credits go over connection 0. Its streams are opened and ended in streams.c.
#include "stage_server/exchange/stream_link.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/wire/exchange.h"
#include "common/wire/types.h"

static void destroy(struct link *base)
{
	struct stream_link *link = stream_of(base);
	for (uint32_t i = 0; i < link->waiting_count; i++)
		buffer_unref(link->waiting[(link->waiting_first + i) % link->base.options.send_depth].tensor);
	for (uint32_t i = 0; i < link->connections; i++) {
		rpc_stream_unref(link->connection[i].stream);
		rpc_client_destroy(link->connection[i].client);
	}
	mailbox_destroy(link->mailbox);
	free(link->waiting);
	pthread_mutex_destroy(&link->lock);
	free(link);
}

void stream_link_lose(struct stream_link *link, const struct error *error)
{
	pthread_mutex_lock(&link->lock);
	bool report = !link->closed && !link->reported_lost;
	link->reported_lost = true;
	// Under the lock, so that link_close returns after it: the user is valid until then.
	if (report)
		link->base.options.events->lost(&link->base, error, link->base.options.user);
	pthread_mutex_unlock(&link->lock);
	mailbox_lose(link->mailbox);
	buffer_pool_close(link->base.pool);
}

void stream_link_give_credits(struct stream_link *link, uint32_t tensors)
{
	struct wire_exchange message = {.kind = EXCHANGE_CREDIT, .credit = {.tensors = tensors}};
	wire_exchange_send(link->connection[0].stream, &message, NULL, 0, 0);
}

// With the lock held, so that tensors leave in the order in which they came. Drops the reference.
static void send_tensor(struct stream_link *link, const struct outgoing *outgoing)
{
	const struct tensor_shape *shape = &link->base.options.incoming.shape;
	struct wire_exchange message = {.kind = EXCHANGE_CHUNK,
					.chunk = {.step = outgoing->step,
						  .micro_batch = outgoing->number,
						  .kind = link->base.options.outgoing,
						  .dtype = wire_data_type(shape->type),
						  .shape = shape->dimensions,
						  .rank = shape->rank}};
	uint64_t chunks = 0;
	for (uint64_t offset = 0; offset < shape->bytes; offset += link->chunk_bytes, chunks++) {
		uint64_t rest = shape->bytes - offset;
		message.chunk.offset_bytes = offset;
		wire_exchange_send(link->connection[chunks % link->connections].stream, &message, outgoing->tensor,
				   offset, rest < link->chunk_bytes ? rest : link->chunk_bytes);
	}
	buffer_unref(outgoing->tensor);
	link_count_sent(&link->base, shape->bytes, chunks);
}

static void send(struct link *base, uint64_t step, uint32_t number, struct buffer *tensor)
{
	struct stream_link *link = stream_of(base);
	struct outgoing outgoing = {step, number, tensor};
	pthread_mutex_lock(&link->lock);
	if (link->closed) {
		buffer_unref(tensor);
	} else if (link->credits > 0) {
		link->credits--;
		send_tensor(link, &outgoing);
	} else { // there is room: each waiting tensor holds one of the pool's send_depth buffers
		link->waiting[(link->waiting_first + link->waiting_count++) % link->base.options.send_depth] = outgoing;
	}
	pthread_mutex_unlock(&link->lock);
}

static bool take_credits(struct stream_link *link, uint32_t tensors, struct error *error)
{
	pthread_mutex_lock(&link->lock);
	bool ok = link->base.options.send_depth > 0 && tensors > 0 &&
		  tensors <= link->base.options.incoming.tensors_per_step &&
		  link->credits + tensors <= link->base.options.incoming.tensors_per_step;
	if (ok)
		link->credits += tensors;
	while (ok && !link->closed && link->credits > 0 && link->waiting_count > 0) {
		struct outgoing outgoing = link->waiting[link->waiting_first];
		link->waiting_first = (link->waiting_first + 1) % link->base.options.send_depth;
		link->waiting_count--;
		link->credits--;
		send_tensor(link, &outgoing);
	}
	pthread_mutex_unlock(&link->lock);
	if (ok)
		return true;
	if (link->base.options.send_depth == 0)
		return error_set(error, ERROR_PROTOCOL, "a credit of %u tensors came over a link that sends none",
				 tensors);
	return error_set(error, ERROR_PROTOCOL, "a credit of %u tensors came, expected from 1 to the %u of a step",
			 tensors, link->base.options.incoming.tensors_per_step);
}

static enum mailbox_status receive(struct link *base, const void **ret_values)
{
	return mailbox_take(stream_of(base)->mailbox, ret_values);
}

static void release(struct link *base)
{
	struct stream_link *link = stream_of(base);
	mailbox_release(link->mailbox);
	stream_link_give_credits(link, 1);
}

// ---- What comes in

// A chunk that follows another one of its tensor was on its way while we waited for it: a tensor is sent whole.
static void measure_pace(struct stream_link *link, size_t size)
{
	const struct link_options *options = &link->base.options;
	uint64_t now_ns = clock_now_ns();
	pthread_mutex_lock(&link->lock);
	uint64_t tensor_bytes = options->incoming.shape.bytes; // of one chunk, or none, there is nothing to measure
	bool follows = tensor_bytes > link->chunk_bytes && link->arrived_bytes % tensor_bytes != 0;
	uint64_t passed_ns = now_ns - link->arrived_ns;
	link->arrived_bytes += size;
	link->arrived_ns = now_ns;
	pthread_mutex_unlock(&link->lock);
	if (!follows)
		return;
	metric_add(options->counters.receiving_ns, passed_ns);
	metric_add(options->counters.receiving_bytes, size);
}

static bool handle_chunk(struct stream_link *link, uint32_t connection, const struct tensor_chunk *chunk,
			 const struct rpc_incoming *incoming, struct error *error)
{
	uint8_t *destination;
	size_t size = rpc_incoming_payload_size(incoming);
	if (!mailbox_begin_chunk(link->mailbox, connection, chunk, size, &destination, error))
		return false;
	rpc_incoming_copy_payload(incoming, destination);
	measure_pace(link, size);
	link_count_received(&link->base, size);
	mailbox_end_chunk(link->mailbox, connection);
	return true;
}

static bool handle(struct stream_link *link, uint32_t connection, const struct wire_exchange *message,
		   const struct rpc_incoming *incoming, struct error *error)
{
	bool stands = stream_link_is_up(link, connection);
	switch (message->kind) {
	case EXCHANGE_ACCEPTED:
		if (!stream_link_awaits_acceptance(link, connection))
			return error_set(error, ERROR_PROTOCOL, "an unexpected acceptance");
		stream_link_stands(link, connection, false);
		return true;
	case EXCHANGE_CHUNK:
		if (!stands)
			return error_set(error, ERROR_PROTOCOL, "a tensor before the link was accepted");
		return handle_chunk(link, connection, &message->chunk, incoming, error);
	case EXCHANGE_CREDIT:
		if (!stands)
			return error_set(error, ERROR_PROTOCOL, "a credit came before the link was accepted");
		return take_credits(link, message->credit.tensors, error);
	default:
		return error_set(error, ERROR_PROTOCOL, "a message that is not allowed on an open link");
	}
}

void link_handle_message(struct link *base, struct rpc_stream *stream, uint32_t connection,
			 const struct rpc_incoming *incoming)
{
	struct stream_link *link = stream_of(base);
	struct error error;
	struct wire_exchange *message = wire_exchange_read(incoming, &error);
	bool ok = message != NULL && handle(link, connection, message, incoming, &error);
	wire_exchange_free(message);
	if (ok)
		return;
	error_wrap(&error, "from %s", rpc_stream_peer(stream));
	rpc_stream_finish(stream, rpc_status_from_error(&error), error.message);
	stream_link_lose(link, &error);
}

// ---- The end

static void close_link(struct link *base, bool in_good_order)
{
	struct stream_link *link = stream_of(base);
	pthread_mutex_lock(&link->lock);
	bool over = !link->closed && link->open_streams == 0;
	link->closed = true;
	for (uint32_t i = 0; i < link->connections; i++) {
		struct connection *connection = &link->connection[i];
		if (connection->stream == NULL)
			continue;
		if (!in_good_order)
			rpc_stream_cancel(connection->stream);
		else if (connection->client != NULL)
			rpc_stream_half_close(connection->stream);
		else
			rpc_stream_finish(connection->stream, RPC_OK, NULL);
	}
	pthread_mutex_unlock(&link->lock);
	mailbox_close(link->mailbox);
	buffer_pool_close(link->base.pool);
	if (over)
		link->base.options.events->over(&link->base, link->base.options.user);
}

static void wake(struct link *base)
{
	struct stream_link *link = stream_of(base);
	mailbox_close(link->mailbox);
	buffer_pool_close(link->base.pool);
}

bool stream_link_create(const struct link_options *options, struct link **ret_link, struct error *error)
{
	static const struct link_class class = {.send = send,
						.receive = receive,
						.release = release,
						.close = close_link,
						.wake = wake,
						.destroy = destroy};
	struct stream_link *link = calloc(1, sizeof(*link));
	if (link == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for a link");
	link->connections = options->incoming.connections;
	link->chunk_bytes = options->incoming.chunk_bytes;
	pthread_mutex_init(&link->lock, NULL);
	link->waiting = calloc(options->send_depth + 1, sizeof(*link->waiting));
	bool ok = link_init(&link->base, &class, options, error) &&
		  mailbox_create(&options->incoming, &link->mailbox, error);
	if (ok && link->waiting == NULL)
		ok = error_set(error, ERROR_OUT_OF_MEMORY, "no memory for a link");
	if (!ok) {
		link_unref(&link->base);
		return false;
	}
	*ret_link = &link->base;
	return true;
}
