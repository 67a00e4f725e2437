// Exchange streams that neighbours open here. The first message must show a session's link token; then the stream
// belongs to that session's link. One that shows nothing in time is ended.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/wire/exchange.h"
#include "stage_server/session/internal.h"

enum { MAXIMUM_UNADOPTED = 256 };

struct inbound {
	struct inbound *next, **place; // of the host's list, and what points here: loop's thread
	struct session_host *host;
	struct rpc_stream *stream; // our reference
	uint64_t arrived_ns;
	uint32_t connection; // once shown
	uint8_t token[PROTOCOL_TOKEN_BYTES];
	bool shown;   // gRPC's thread
	bool counted; // loop's thread: among the unadopted

	pthread_mutex_t lock;
	struct link *link; // it belongs to; NULL: to nobody
	bool closed;
	struct error refusal; // why it was ended before it belonged to one; NONE: it was not

	struct event arrived, adopt, over;
};

static struct inbound *of(struct event *event, size_t offset)
{
	return (struct inbound *)((char *)event - offset);
}

// Once; it is counted and logged when the stream is over. Any thread.
static void refuse(struct inbound *inbound, enum rpc_status status, const struct error *error)
{
	pthread_mutex_lock(&inbound->lock);
	bool first = inbound->refusal.code == ERROR_NONE;
	if (first)
		inbound->refusal = *error;
	pthread_mutex_unlock(&inbound->lock);
	if (first)
		rpc_stream_finish(inbound->stream, status, error->message);
}

// ---- On gRPC's threads

static struct link *link_of(struct inbound *inbound)
{
	pthread_mutex_lock(&inbound->lock);
	struct link *link = inbound->link;
	pthread_mutex_unlock(&inbound->lock);
	return link;
}

static bool read_open(struct inbound *inbound, const struct rpc_incoming *incoming, struct error *error)
{
	struct wire_exchange *message = wire_exchange_read(incoming, error);
	if (message == NULL)
		return false;
	bool ok = false;
	if (inbound->shown || message->kind != EXCHANGE_OPEN)
		error_set(error, ERROR_PROTOCOL, "an exchange begins with Open, and continues when it is accepted");
	else if (message->open.protocol_version != PROTOCOL_VERSION)
		error_set(error, ERROR_VERSION, "the neighbour has protocol version %u, this daemon has %d",
			  message->open.protocol_version, PROTOCOL_VERSION);
	else if (message->open.link_token.size != PROTOCOL_TOKEN_BYTES)
		error_set(error, ERROR_PROTOCOL, "a link token has %d bytes, not %zu", PROTOCOL_TOKEN_BYTES,
			  message->open.link_token.size);
	else
		ok = true;
	if (ok) {
		memcpy(inbound->token, message->open.link_token.data, PROTOCOL_TOKEN_BYTES);
		inbound->connection = message->open.connection;
		inbound->shown = true;
	}
	wire_exchange_free(message);
	return ok;
}

static void on_message(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct inbound *inbound = user;
	struct link *link = link_of(inbound);
	struct error error;
	if (link != NULL)
		link_handle_message(link, stream, inbound->connection, incoming);
	else if (read_open(inbound, incoming, &error))
		event_queue_post(inbound->host->options.queue, &inbound->adopt);
	else
		refuse(inbound, rpc_status_from_error(&error), &error);
}

// The neighbour left in good order, or its call broke: `closed`, which follows, knows which.
static void on_half_closed(struct rpc_stream *stream, void *user)
{
	rpc_stream_finish(stream, RPC_OK, NULL);
}

static void on_closed(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	struct inbound *inbound = user;
	pthread_mutex_lock(&inbound->lock);
	inbound->closed = true;
	struct link *link = inbound->link;
	pthread_mutex_unlock(&inbound->lock);
	if (link != NULL)
		link_handle_closed(link, inbound->connection, status, detail);
	event_queue_post(inbound->host->options.queue, &inbound->over);
}

// ---- On the loop

static void handle_arrived(struct event *event)
{
	struct inbound *inbound = of(event, offsetof(struct inbound, arrived));
	struct session_host *host = inbound->host;
	inbound->next = host->inbound;
	inbound->place = &host->inbound;
	if (inbound->next != NULL)
		inbound->next->place = &inbound->next;
	host->inbound = inbound;
	inbound->counted = true;
	host->unadopted++;
	if (host->draining)
		rpc_stream_finish(inbound->stream, RPC_UNAVAILABLE, "this daemon is stopping");
	else if (host->unadopted > MAXIMUM_UNADOPTED) {
		limits_hit(host->options.limits, LIMIT_EXCHANGES,
			   "%s was refused: %d exchanges are waiting without a link token",
			   rpc_stream_peer(inbound->stream), MAXIMUM_UNADOPTED);
		rpc_stream_finish(inbound->stream, RPC_RESOURCE_EXHAUSTED,
				  "too many exchanges are waiting to be opened");
	}
}

static bool adopt(struct inbound *inbound, struct session *session, enum neighbour side, struct error *error)
{
	struct link *link = executor_link(session->executor, side);
	pthread_mutex_lock(&inbound->lock);
	bool closed = inbound->closed;
	bool ok = !closed && link_adopt(link, inbound->stream, inbound->connection, error);
	if (ok)
		inbound->link = link;
	pthread_mutex_unlock(&inbound->lock);
	if (ok) {
		inbound->counted = false;
		inbound->host->unadopted--;
		link_accept(link, inbound->connection);
	}
	return ok || closed;
}

static void handle_adopt(struct event *event)
{
	struct inbound *inbound = of(event, offsetof(struct inbound, adopt));
	enum neighbour side;
	struct session *session = host_find_token(inbound->host, inbound->token, &side);
	struct error error;
	if (session == NULL) {
		error_set(&error, ERROR_PROTOCOL, "no session here has this link token");
		refuse(inbound, RPC_PERMISSION_DENIED, &error);
	} else if (!adopt(inbound, session, side, &error)) {
		refuse(inbound, RPC_INVALID_ARGUMENT, &error);
	}
}

static void handle_over(struct event *event)
{
	struct inbound *inbound = of(event, offsetof(struct inbound, over));
	if (inbound->refusal.code != ERROR_NONE) {
		host_count_error(inbound->host, inbound->refusal.code);
		host_log_refusal(inbound->host, LOG_LEVEL_WARNING, NULL, "an exchange from %s was refused: %s",
				 rpc_stream_peer(inbound->stream), inbound->refusal.message);
	}
	*inbound->place = inbound->next;
	if (inbound->next != NULL)
		inbound->next->place = inbound->place;
	inbound->host->unadopted -= inbound->counted;
	rpc_stream_unref(inbound->stream);
	pthread_mutex_destroy(&inbound->lock);
	free(inbound);
}

void inbound_tick(struct session_host *host, const struct lateness *lateness, uint64_t now_ns)
{
	struct error error;
	error_set(&error, ERROR_PROTOCOL, "the exchange was not opened within %d ms", PROTOCOL_TIMEOUT_MS);
	for (struct inbound *inbound = host->inbound; inbound != NULL; inbound = inbound->next)
		if (link_of(inbound) == NULL &&
		    lateness_silence_ms(lateness, inbound->arrived_ns, now_ns) > PROTOCOL_TIMEOUT_MS)
			refuse(inbound, RPC_DEADLINE_EXCEEDED, &error);
}

void inbound_drain(struct session_host *host)
{
	for (struct inbound *inbound = host->inbound; inbound != NULL; inbound = inbound->next)
		if (link_of(inbound) == NULL)
			rpc_stream_finish(inbound->stream, RPC_UNAVAILABLE, "this daemon is stopping");
}

void session_host_handle_exchange(struct rpc_stream *stream, void *user)
{
	static const struct rpc_stream_events events = {
		.message = on_message, .half_closed = on_half_closed, .closed = on_closed};
	struct session_host *host = user;
	struct inbound *inbound = calloc(1, sizeof(*inbound));
	if (inbound == NULL) {
		rpc_stream_finish(stream, RPC_RESOURCE_EXHAUSTED, "no memory for an exchange");
		rpc_stream_unref(stream);
		return;
	}
	inbound->host = host;
	inbound->stream = stream;
	inbound->arrived_ns = clock_now_ns();
	inbound->arrived.handler = handle_arrived;
	inbound->adopt.handler = handle_adopt;
	inbound->over.handler = handle_over;
	pthread_mutex_init(&inbound->lock, NULL);
	rpc_stream_accept(stream, &events, inbound);
	event_queue_post(host->options.queue, &inbound->arrived);
}
