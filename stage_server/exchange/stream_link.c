// The way to a neighbour, a stage or a replica, over the network. Chunk c of a tensor goes over connection c % connections; credits go over
// connection 0.
#include "stage_server/exchange/internal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"
#include "common/rpc/wire_types.h"

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
	struct buffer_pool *pool;

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

static struct stream_link *stream_of(struct link *link)
{
	return (struct stream_link *)link;
}

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
	buffer_pool_destroy(link->pool);
	free(link->waiting);
	pthread_mutex_destroy(&link->lock);
	free(link);
}

// Reports the loss, once, and wakes whoever waits for a tensor, or for a buffer that the neighbour will give no credit for.
static void lose(struct stream_link *link, const struct error *error)
{
	pthread_mutex_lock(&link->lock);
	bool report = !link->closed && !link->reported_lost;
	link->reported_lost = true;
	// Under the lock, so that link_close returns after it: the user is valid until then.
	if (report)
		link->base.options.events->lost(&link->base, error, link->base.options.user);
	pthread_mutex_unlock(&link->lock);
	mailbox_lose(link->mailbox);
	buffer_pool_close(link->pool);
}

static void give_credits(struct stream_link *link, uint32_t tensors)
{
	Penstock__V1__Credit credit = PENSTOCK__V1__CREDIT__INIT;
	Penstock__V1__ExchangeMessage message = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	credit.tensors = tensors;
	message.body_case = PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_CREDIT;
	message.credit = &credit;
	rpc_stream_send(link->connection[0].stream, &message.base, NULL, 0, 0);
}

// With the lock held, so that tensors leave in the order in which they came. Drops the reference.
static void send_tensor(struct stream_link *link, const struct outgoing *outgoing)
{
	const struct tensor_shape *shape = &link->base.options.incoming.shape;
	Penstock__V1__TensorChunk chunk = PENSTOCK__V1__TENSOR_CHUNK__INIT;
	Penstock__V1__ExchangeMessage message = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	message.body_case = PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_CHUNK;
	message.chunk = &chunk;
	chunk.step = outgoing->step;
	chunk.micro_batch = outgoing->number;
	chunk.kind = link->base.options.outgoing;
	chunk.dtype = wire_type_of(shape->type);
	chunk.n_shape = shape->rank;
	chunk.shape = (uint32_t *)shape->dimensions;
	uint64_t chunks = 0;
	for (uint64_t offset = 0; offset < shape->bytes; offset += link->chunk_bytes, chunks++) {
		uint64_t rest = shape->bytes - offset;
		chunk.offset_bytes = offset;
		rpc_stream_send(link->connection[chunks % link->connections].stream, &message.base, outgoing->tensor,
				offset, rest < link->chunk_bytes ? rest : link->chunk_bytes);
	}
	buffer_unref(outgoing->tensor);
	link_count_sent(&link->base, shape->bytes, chunks);
}

static struct buffer *take_buffer(struct link *base)
{
	return buffer_pool_take(stream_of(base)->pool);
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
	give_credits(link, 1);
}

// ---- What comes in

static void send_accepted(struct rpc_stream *stream)
{
	Penstock__V1__ExchangeAccepted accepted = PENSTOCK__V1__EXCHANGE_ACCEPTED__INIT;
	Penstock__V1__ExchangeMessage message = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	message.body_case = PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_ACCEPTED;
	message.accepted = &accepted;
	rpc_stream_send(stream, &message.base, NULL, 0, 0);
}

// A connection is up on both sides. The last one makes the link ready and tells the neighbour how much it may send.
// The order matters to both: the neighbour may answer an acceptance at once, and takes a credit only after it.
static void connection_stands(struct stream_link *link, uint32_t connection, bool accept)
{
	pthread_mutex_lock(&link->lock);
	link->connection[connection].stands = true;
	if (accept)
		send_accepted(link->connection[connection].stream);
	if (++link->standing == link->connections && !link->closed) {
		if (link->base.options.incoming.depth > 0)
			give_credits(link, link->base.options.incoming.depth);
		link->base.options.events->ready(&link->base, link->base.options.user);
	}
	pthread_mutex_unlock(&link->lock);
}

static bool connection_is_up(struct stream_link *link, uint32_t connection)
{
	pthread_mutex_lock(&link->lock);
	bool stands = link->connection[connection].stands;
	pthread_mutex_unlock(&link->lock);
	return stands;
}

// We dialled it and have sent Open, which nobody has accepted yet.
static bool waits_for_acceptance(struct stream_link *link, uint32_t connection)
{
	pthread_mutex_lock(&link->lock);
	const struct connection *c = &link->connection[connection];
	bool waits = c->client != NULL && c->stream != NULL && !c->stands;
	pthread_mutex_unlock(&link->lock);
	return waits;
}

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

static bool handle_chunk(struct stream_link *link, uint32_t connection, const Penstock__V1__TensorChunk *chunk,
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

static bool handle(struct stream_link *link, uint32_t connection, const Penstock__V1__ExchangeMessage *message,
		   const struct rpc_incoming *incoming, struct error *error)
{
	bool stands = connection_is_up(link, connection);
	switch (message->body_case) {
	case PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_ACCEPTED:
		if (!waits_for_acceptance(link, connection))
			return error_set(error, ERROR_PROTOCOL, "an acceptance that nobody asked for");
		connection_stands(link, connection, false);
		return true;
	case PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_CHUNK:
		if (!stands)
			return error_set(error, ERROR_PROTOCOL, "a tensor before the link was accepted");
		return handle_chunk(link, connection, message->chunk, incoming, error);
	case PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_CREDIT:
		if (!stands)
			return error_set(error, ERROR_PROTOCOL, "a credit before the link was accepted");
		return take_credits(link, message->credit->tensors, error);
	default:
		return error_set(error, ERROR_PROTOCOL, "a message that has no place on a link that stands");
	}
}

void link_handle_message(struct link *base, struct rpc_stream *stream, uint32_t connection,
			 const struct rpc_incoming *incoming)
{
	struct stream_link *link = stream_of(base);
	struct error error;
	Penstock__V1__ExchangeMessage *message = (Penstock__V1__ExchangeMessage *)rpc_incoming_unpack(
		incoming, &penstock__v1__exchange_message__descriptor, &error);
	bool ok = message != NULL && handle(link, connection, message, incoming, &error);
	if (message != NULL)
		penstock__v1__exchange_message__free_unpacked(message, NULL);
	if (ok)
		return;
	error_wrap(&error, "from %s", rpc_stream_peer(stream));
	rpc_stream_finish(stream, rpc_status_from_error(&error), error.message);
	lose(link, &error);
}

static void stream_over(struct stream_link *link)
{
	pthread_mutex_lock(&link->lock);
	bool over = --link->open_streams == 0 && link->closed;
	pthread_mutex_unlock(&link->lock);
	if (over)
		link->base.options.events->over(&link->base, link->base.options.user);
	link_unref(&link->base); // the connection's
}

void link_handle_closed(struct link *base, uint32_t connection, enum rpc_status status, const char *detail)
{
	struct stream_link *link = stream_of(base);
	struct error error;
	if (status == RPC_OK) {
		lose(link, NULL);
	} else {
		error_set(&error, status == RPC_FAILED_PRECONDITION ? ERROR_VERSION : ERROR_UNREACHABLE, "%s (%s)",
			  detail, rpc_status_name(status));
		lose(link, &error);
	}
	stream_over(link);
}

// ---- Streams that we open

static void dialled_message(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct connection *connection = user;
	link_handle_message(&connection->link->base, stream, connection->index, incoming);
}

static void dialled_closed(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	struct connection *connection = user;
	link_handle_closed(&connection->link->base, connection->index, status, detail);
}

static bool dial_one(struct stream_link *link, uint32_t index, const char *address, struct rpc_tls *tls,
		     const uint8_t *token, struct error *error)
{
	static const struct rpc_stream_events events = {.message = dialled_message, .closed = dialled_closed};
	struct connection *connection = &link->connection[index];
	struct rpc_client_options options = {.keepalive_ms = PROTOCOL_KEEPALIVE_MS, .tls = tls};
	connection->link = link;
	connection->index = index;
	if (!rpc_client_create(address, &options, &connection->client, error))
		return false;
	link_ref(&link->base);
	pthread_mutex_lock(&link->lock);
	link->open_streams++;
	pthread_mutex_unlock(&link->lock);
	// Events may come before the stream is stored; they use what they are handed.
	struct rpc_stream *stream =
		rpc_client_stream(connection->client, PROTOCOL_METHOD_EXCHANGE, 0, &events, connection);
	if (stream == NULL) {
		stream_over(link);
		return error_set(error, ERROR_FAILED, "no memory for a stream to %s", address);
	}
	pthread_mutex_lock(&link->lock);
	connection->stream = stream;
	pthread_mutex_unlock(&link->lock);
	Penstock__V1__ExchangeOpen open = PENSTOCK__V1__EXCHANGE_OPEN__INIT;
	Penstock__V1__ExchangeMessage message = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	open.protocol_version = PROTOCOL_VERSION;
	open.link_token.data = (uint8_t *)token;
	open.link_token.len = PROTOCOL_TOKEN_BYTES;
	open.connection = index;
	message.body_case = PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_OPEN;
	message.open = &open;
	rpc_stream_send(stream, &message.base, NULL, 0, 0);
	return true;
}

static bool check_kind(const struct link *link, struct error *error)
{
	return !link->options.local ||
	       error_set(error, ERROR_PROTOCOL, "the plan says that this neighbour is held by the same daemon");
}

bool link_dial(struct link *base, const char *address, struct rpc_tls *tls, const uint8_t *token, struct error *error)
{
	struct stream_link *link = stream_of(base);
	if (!check_kind(base, error))
		return false;
	for (uint32_t i = 0; i < link->connections; i++)
		if (!dial_one(link, i, address, tls, token, error))
			return false;
	return true;
}

// ---- Streams that the previous stage opens

bool link_adopt(struct link *base, struct rpc_stream *stream, uint32_t connection, struct error *error)
{
	struct stream_link *link = stream_of(base);
	if (!check_kind(base, error))
		return false;
	if (connection >= link->connections)
		return error_set(error, ERROR_PROTOCOL, "there is no connection %u: the link has %u, from 0",
				 connection, link->connections);
	pthread_mutex_lock(&link->lock);
	bool closed = link->closed, taken = link->connection[connection].stream != NULL;
	bool ok = !taken && !closed;
	if (ok) {
		rpc_stream_ref(stream);
		link->connection[connection] = (struct connection){.link = link, .index = connection, .stream = stream};
		link->open_streams++;
	}
	pthread_mutex_unlock(&link->lock);
	if (!ok)
		return closed ? error_set(error, ERROR_PROTOCOL, "the link's session has ended")
			      : error_set(error, ERROR_PROTOCOL, "connection %u stands already", connection);
	link_ref(&link->base); // until link_handle_closed
	return true;
}

void link_accept(struct link *base, uint32_t connection)
{
	struct stream_link *link = stream_of(base);
	connection_stands(link, connection, true);
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
	buffer_pool_close(link->pool);
	if (over)
		link->base.options.events->over(&link->base, link->base.options.user);
}

static void wake(struct link *base)
{
	struct stream_link *link = stream_of(base);
	mailbox_close(link->mailbox);
	buffer_pool_close(link->pool);
}

bool stream_link_create(const struct link_options *options, struct link **ret_link, struct error *error)
{
	static const struct link_class class = {.take_buffer = take_buffer,
						.send = send,
						.receive = receive,
						.release = release,
						.close = close_link,
						.wake = wake,
						.destroy = destroy};
	struct stream_link *link = calloc(1, sizeof(*link));
	if (link == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for a link");
	link->base.class = &class;
	link->base.references = 1;
	link->base.options = *options;
	link->connections = options->incoming.connections;
	link->chunk_bytes = options->incoming.chunk_bytes;
	pthread_mutex_init(&link->lock, NULL);
	link->pool = buffer_pool_create(options->incoming.shape.bytes, options->send_depth, options->memory);
	link->waiting = calloc(options->send_depth + 1, sizeof(*link->waiting));
	if (link->pool == NULL || link->waiting == NULL) {
		link_unref(&link->base);
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for %u tensors of %" PRIu64 " bytes to send",
				 options->send_depth, options->incoming.shape.bytes);
	}
	if (!mailbox_create(&options->incoming, &link->mailbox, error)) {
		link_unref(&link->base);
		return false;
	}
	*ret_link = &link->base;
	return true;
}
