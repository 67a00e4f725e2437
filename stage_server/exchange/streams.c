// The streams of a stream link: dialled to the neighbour behind, or adopted from the one before; how they come to stand, and their end. What
// crosses them is in stream_link.c.
#include "common/rpc/protocol.h"
#include "common/wire/exchange.h"
#include "stage_server/exchange/stream_link.h"

// ---- Standing

static void send_accepted(struct rpc_stream *stream)
{
	wire_exchange_send(stream, &(struct wire_exchange){.kind = EXCHANGE_ACCEPTED}, NULL, 0, 0);
}

// The order matters to both: the neighbour may answer an acceptance at once, and takes a credit only after it.
void stream_link_stands(struct stream_link *link, uint32_t connection, bool accept)
{
	pthread_mutex_lock(&link->lock);
	link->connection[connection].stands = true;
	if (accept)
		send_accepted(link->connection[connection].stream);
	if (++link->standing == link->connections && !link->closed) {
		if (link->base.options.incoming.depth > 0)
			stream_link_give_credits(link, link->base.options.incoming.depth);
		link->base.options.events->ready(&link->base, link->base.options.user);
	}
	pthread_mutex_unlock(&link->lock);
}

bool stream_link_is_up(struct stream_link *link, uint32_t connection)
{
	pthread_mutex_lock(&link->lock);
	bool stands = link->connection[connection].stands;
	pthread_mutex_unlock(&link->lock);
	return stands;
}

bool stream_link_awaits_acceptance(struct stream_link *link, uint32_t connection)
{
	pthread_mutex_lock(&link->lock);
	const struct connection *c = &link->connection[connection];
	bool waits = c->client != NULL && c->stream != NULL && !c->stands;
	pthread_mutex_unlock(&link->lock);
	return waits;
}

// ---- The end of one

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
		stream_link_lose(link, NULL);
	} else {
		rpc_status_explain(status, detail, &error);
		error.code = status == RPC_FAILED_PRECONDITION ? ERROR_VERSION : ERROR_UNREACHABLE;
		stream_link_lose(link, &error);
	}
	stream_over(link);
}

// ---- Dialled

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

static void send_open(struct rpc_stream *stream, uint32_t connection, const uint8_t *token)
{
	struct wire_exchange message = {.kind = EXCHANGE_OPEN,
					.open = {.protocol_version = PROTOCOL_VERSION,
						 .link_token = {token, PROTOCOL_TOKEN_BYTES},
						 .connection = connection}};
	wire_exchange_send(stream, &message, NULL, 0, 0);
}

static bool dial_one(struct stream_link *link, uint32_t index, const char *address, struct rpc_tls *tls,
		     const uint8_t *token, struct error *error)
{
	static const struct rpc_stream_events events = {.message = dialled_message, .closed = dialled_closed};
	struct connection *connection = &link->connection[index];
	struct rpc_client_options options = {
		.keepalive_ms = PROTOCOL_KEEPALIVE_MS, .connect_timeout_ms = PROTOCOL_TIMEOUT_MS, .tls = tls};
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
	send_open(stream, index, token);
	return true;
}

static bool check_kind(const struct link *link, struct error *error)
{
	return !link->options.local ||
	       error_set(error, ERROR_PROTOCOL, "the plan says that this neighbour runs on the same daemon");
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

// ---- Adopted

bool link_adopt(struct link *base, struct rpc_stream *stream, uint32_t connection, struct error *error)
{
	struct stream_link *link = stream_of(base);
	if (!check_kind(base, error))
		return false;
	if (connection >= link->connections)
		return error_set(error, ERROR_PROTOCOL, "unknown connection %u: the link has %u, counted from 0",
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
			      : error_set(error, ERROR_PROTOCOL, "connection %u is already open", connection);
	link_ref(&link->base); // until link_handle_closed
	return true;
}

void link_accept(struct link *base, uint32_t connection)
{
	struct stream_link *link = stream_of(base);
	stream_link_stands(link, connection, true);
}
