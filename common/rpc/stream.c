// One call, seen from either side. Every batch given to gRPC is an operation of this stream; the stream is over when the
// call's last batch (the status on a client, the close on a server) and all others have completed, and only then `closed`
// is called. So a callback never meets another one of its stream: messages come one after the other because the next
// is asked for when the callback has returned, or later, by rpc_stream_resume: until then a held receive counts as one
// that has not completed.
#include "common/rpc/internal.h"

#include <grpc/support/alloc.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS_SHARE = 16 }; // the part of all that waits to be sent which one call may have

// What waits to be sent, in order.
struct outgoing {
	struct outgoing *next;
	grpc_byte_buffer *message; // NULL: the end of this side
	size_t bytes;              // that waiting costs; the payload is its owner's memory
};

struct rpc_stream {
	_Atomic(uint32_t) references;
	grpc_call *call;
	bool is_client, over_tls;
	const struct rpc_stream_events *events; // NULL until accepted
	void *user;
	void (*gone)(void *server, const char *peer, bool cancelled);
	void *server;
	struct stream_limits *limits; // NULL: none
	_Atomic(uint64_t) buffered;   // of what waits to be sent and what is on its way
	char *peer;

	struct operation start, receive, send, final;
	// Owned by gRPC while `receive` and `final` are under way.
	grpc_byte_buffer *incoming;
	grpc_metadata_array initial_metadata, trailing_metadata;
	grpc_status_code status_code;
	grpc_slice status_detail;
	int cancelled;

	pthread_mutex_t lock; // the rest
	struct outgoing *head, **tail;
	struct outgoing *in_flight; // the one `send` is for
	uint32_t outstanding;       // operations under way
	bool started;               // the initial metadata was handed to gRPC: what is queued may follow
	bool held, receive_waits;   // no message is read now; and one would have been
	bool cancelled_here;        // by rpc_stream_cancel: not held any more
	bool over;                  // nothing more is accepted for sending
	bool final_done;
	enum rpc_status finish_status; // server: what finish said
	char *finish_detail;
};

static const char out_of_memory[] = "out of memory";

static void send_next(struct rpc_stream *stream);

void rpc_stream_ref(struct rpc_stream *stream)
{
	atomic_fetch_add_explicit(&stream->references, 1, memory_order_relaxed);
}

void rpc_stream_unref(struct rpc_stream *stream)
{
	if (stream == NULL || atomic_fetch_sub_explicit(&stream->references, 1, memory_order_acq_rel) != 1)
		return;
	grpc_metadata_array_destroy(&stream->initial_metadata);
	grpc_metadata_array_destroy(&stream->trailing_metadata);
	grpc_slice_unref(stream->status_detail);
	grpc_call_unref(stream->call);
	gpr_free(stream->peer);
	free(stream->finish_detail);
	pthread_mutex_destroy(&stream->lock);
	free(stream);
}

static void give_room(struct rpc_stream *stream, size_t bytes)
{
	if (stream->limits == NULL)
		return;
	atomic_fetch_sub(&stream->limits->buffered, bytes);
	atomic_fetch_sub(&stream->buffered, bytes);
}

static void outgoing_free(struct rpc_stream *stream, struct outgoing *outgoing)
{
	give_room(stream, outgoing->bytes);
	if (outgoing->message != NULL)
		grpc_byte_buffer_destroy(outgoing->message);
	free(outgoing);
}

// With the lock held.
static struct outgoing *take_queue(struct rpc_stream *stream)
{
	struct outgoing *queue = stream->head;
	stream->head = NULL;
	stream->tail = &stream->head;
	return queue;
}

static void free_queue(struct rpc_stream *stream, struct outgoing *queue)
{
	while (queue != NULL) {
		struct outgoing *next = queue->next;
		outgoing_free(stream, queue);
		queue = next;
	}
}

// Gives a batch to gRPC; its operation completes in every case.
static void start_batch(struct rpc_stream *stream, const grpc_op *ops, size_t count, struct operation *operation)
{
	grpc_call *call = stream->call;
	runtime_hand_over(); // from here on the stream may end, and be freed, on another thread
	if (grpc_call_start_batch(call, ops, count, operation, NULL) == GRPC_CALL_OK)
		return;
	// A batch that the library does not take is a mistake of ours; end the call rather than the process.
	grpc_call_cancel_with_status(call, GRPC_STATUS_INTERNAL, "batch refused", NULL);
	operation->complete(operation, false);
}

static enum rpc_status known_status(grpc_status_code code)
{
	switch ((int)code) {
	case RPC_OK:
	case RPC_CANCELLED:
	case RPC_INVALID_ARGUMENT:
	case RPC_DEADLINE_EXCEEDED:
	case RPC_NOT_FOUND:
	case RPC_PERMISSION_DENIED:
	case RPC_RESOURCE_EXHAUSTED:
	case RPC_FAILED_PRECONDITION:
	case RPC_UNIMPLEMENTED:
	case RPC_UNAVAILABLE:
		return (enum rpc_status)code;
	default:
		return RPC_INTERNAL;
	}
}

static void report_closed(struct rpc_stream *stream)
{
	if (stream->events != NULL) {
		enum rpc_status status = known_status(stream->status_code);
		char detail[768] = "";
		if (!stream->is_client) {
			status = stream->cancelled ? RPC_CANCELLED : stream->finish_status;
			snprintf(detail, sizeof(detail), "%s",
				 stream->finish_detail != NULL ? stream->finish_detail
				 : stream->cancelled           ? "the peer cancelled the call or disconnected"
							       : "");
		} else {
			size_t length = GRPC_SLICE_LENGTH(stream->status_detail);
			length = length < sizeof(detail) - 1 ? length : sizeof(detail) - 1;
			memcpy(detail, GRPC_SLICE_START_PTR(stream->status_detail), length);
			if ((status == RPC_UNAVAILABLE || status == RPC_UNIMPLEMENTED) &&
			    advice_add(stream->over_tls, detail, sizeof(detail)))
				status = RPC_UNAVAILABLE; // also of a server that is no daemon
		}
		stream->events->closed(stream, status, detail, stream->user);
	}
	if (stream->gone != NULL)
		stream->gone(stream->server, stream->peer, stream->cancelled != 0);
	rpc_stream_unref(stream);
	runtime_count_stream(-1);
}

// An operation is done; the last one closes the stream. The caller touches the stream no more.
static void finish_operation(struct rpc_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	bool last = --stream->outstanding == 0 && stream->final_done;
	pthread_mutex_unlock(&stream->lock);
	if (last)
		report_closed(stream);
}

static void start_complete(struct operation *operation, bool ok)
{
	finish_operation((struct rpc_stream *)((char *)operation - offsetof(struct rpc_stream, start)));
}

static void receive_next(struct rpc_stream *stream)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &stream->incoming};
	start_batch(stream, &op, 1, &stream->receive);
}

void stream_limits_hit(const struct stream_limits *limits, enum rpc_limit limit, const char *detail)
{
	if (limits->events != NULL && limits->events->limit_hit != NULL)
		limits->events->limit_hit(limit, detail, limits->user);
}

static void refuse_message(struct rpc_stream *stream, size_t bytes)
{
	char detail[160];
	snprintf(detail, sizeof(detail), "a message has %zu bytes; the maximum is %zu (penstockd --max-message-size)",
		 bytes, stream->limits->message_bytes);
	stream_limits_hit(stream->limits, RPC_LIMIT_MESSAGE, detail);
	rpc_stream_finish(stream, RPC_RESOURCE_EXHAUSTED, detail);
}

static void receive_complete(struct operation *operation, bool ok)
{
	struct rpc_stream *stream = (struct rpc_stream *)((char *)operation - offsetof(struct rpc_stream, receive));
	if (!ok || stream->incoming == NULL) {
		if (stream->events->half_closed != NULL && !stream->is_client)
			stream->events->half_closed(stream, stream->user);
		finish_operation(stream);
		return;
	}
	struct rpc_incoming incoming;
	message_inspect(stream->incoming, &incoming);
	if (stream->limits != NULL && incoming.total_bytes > stream->limits->message_bytes)
		refuse_message(stream, incoming.total_bytes);
	else
		stream->events->message(stream, &incoming, stream->user);
	grpc_byte_buffer_destroy(stream->incoming);
	stream->incoming = NULL;
	pthread_mutex_lock(&stream->lock);
	bool held = stream->receive_waits = stream->held;
	pthread_mutex_unlock(&stream->lock);
	if (!held)
		receive_next(stream);
}

void rpc_stream_hold(struct rpc_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	stream->held = !stream->cancelled_here;
	pthread_mutex_unlock(&stream->lock);
}

// `detail` NULL: a plain cancel.
static void let_go(struct rpc_stream *stream, bool cancels, const char *detail)
{
	pthread_mutex_lock(&stream->lock);
	bool waits = stream->receive_waits;
	stream->held = stream->receive_waits = false;
	stream->cancelled_here |= cancels;
	pthread_mutex_unlock(&stream->lock);
	if (cancels && detail != NULL)
		grpc_call_cancel_with_status(stream->call, GRPC_STATUS_RESOURCE_EXHAUSTED, detail, NULL);
	else if (cancels)
		grpc_call_cancel(stream->call, NULL);
	if (waits)
		receive_next(stream);
}

void rpc_stream_resume(struct rpc_stream *stream)
{
	let_go(stream, false, NULL);
}

void rpc_stream_cancel(struct rpc_stream *stream)
{
	let_go(stream, true, NULL);
}

static void send_complete(struct operation *operation, bool ok)
{
	struct rpc_stream *stream = (struct rpc_stream *)((char *)operation - offsetof(struct rpc_stream, send));
	pthread_mutex_lock(&stream->lock);
	struct outgoing *sent = stream->in_flight;
	stream->in_flight = NULL;
	struct outgoing *dropped = NULL;
	if (!ok) { // the call is broken; `final` says why
		stream->over = true;
		dropped = take_queue(stream);
	}
	bool more = stream->head != NULL;
	pthread_mutex_unlock(&stream->lock);
	outgoing_free(stream, sent);
	free_queue(stream, dropped);
	if (more)
		send_next(stream);
	finish_operation(stream);
}

// Sends the head of the queue if nothing is in flight.
static void send_next(struct rpc_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	struct outgoing *outgoing = stream->head;
	if (outgoing == NULL || stream->in_flight != NULL) {
		pthread_mutex_unlock(&stream->lock);
		return;
	}
	stream->head = outgoing->next;
	if (stream->head == NULL)
		stream->tail = &stream->head;
	stream->in_flight = outgoing;
	stream->outstanding++;
	pthread_mutex_unlock(&stream->lock);

	grpc_op op = {0};
	grpc_slice detail = grpc_empty_slice();
	if (outgoing->message != NULL) {
		op.op = GRPC_OP_SEND_MESSAGE;
		op.data.send_message.send_message = outgoing->message;
	} else if (stream->is_client) {
		op.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	} else {
		op.op = GRPC_OP_SEND_STATUS_FROM_SERVER;
		op.data.send_status_from_server.status = (grpc_status_code)stream->finish_status;
		if (stream->finish_detail != NULL)
			detail = grpc_slice_from_copied_string(stream->finish_detail);
		op.data.send_status_from_server.status_details = &detail;
	}
	start_batch(stream, &op, 1, &stream->send);
	grpc_slice_unref(detail);
}

static void final_complete(struct operation *operation, bool ok)
{
	struct rpc_stream *stream = (struct rpc_stream *)((char *)operation - offsetof(struct rpc_stream, final));
	pthread_mutex_lock(&stream->lock);
	stream->final_done = true;
	stream->over = true;
	struct outgoing *dropped = take_queue(stream);
	pthread_mutex_unlock(&stream->lock);
	free_queue(stream, dropped);
	finish_operation(stream);
}

struct rpc_stream *stream_create(grpc_call *call, bool is_client, bool over_tls)
{
	struct rpc_stream *stream = calloc(1, sizeof(*stream));
	if (stream == NULL) {
		grpc_call_cancel_with_status(call, GRPC_STATUS_RESOURCE_EXHAUSTED, out_of_memory, NULL);
		grpc_call_unref(call);
		return NULL;
	}
	runtime_count_stream(1);
	stream->references = 2; // the starter's, and one until `closed` has returned
	stream->call = call;
	stream->is_client = is_client;
	stream->over_tls = over_tls;
	stream->peer = grpc_call_get_peer(call);
	stream->tail = &stream->head;
	stream->status_detail = grpc_empty_slice();
	stream->start.complete = start_complete;
	stream->receive.complete = receive_complete;
	stream->send.complete = send_complete;
	stream->final.complete = final_complete;
	grpc_metadata_array_init(&stream->initial_metadata);
	grpc_metadata_array_init(&stream->trailing_metadata);
	pthread_mutex_init(&stream->lock, NULL);
	return stream;
}

static void let_sends_follow(struct rpc_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	stream->started = true;
	pthread_mutex_unlock(&stream->lock);
	send_next(stream);
}

void stream_start_client(struct rpc_stream *stream, const struct rpc_stream_events *events, void *user)
{
	stream->events = events;
	stream->user = user;
	stream->outstanding = 3;
	grpc_op start[2] = {
		{.op = GRPC_OP_SEND_INITIAL_METADATA},
		{.op = GRPC_OP_RECV_INITIAL_METADATA,
		 .data.recv_initial_metadata.recv_initial_metadata = &stream->initial_metadata},
	};
	grpc_op final = {
		.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		.data.recv_status_on_client = {.trailing_metadata = &stream->trailing_metadata,
					       .status = &stream->status_code,
					       .status_details = &stream->status_detail},
	};
	// Counted beforehand, so that none of them can be the last while another has not begun.
	rpc_stream_ref(stream);
	start_batch(stream, start, 2, &stream->start);
	let_sends_follow(stream);
	start_batch(stream, &final, 1, &stream->final);
	receive_next(stream);
	rpc_stream_unref(stream);
}

void stream_set_limits(struct rpc_stream *stream, struct stream_limits *limits)
{
	stream->limits = limits;
}

void stream_start_server(struct rpc_stream *stream, void (*gone)(void *server, const char *peer, bool cancelled),
			 void *server)
{
	stream->gone = gone;
	stream->server = server;
	pthread_mutex_lock(&stream->lock);
	stream->outstanding = stream->events != NULL ? 3 : 2;
	pthread_mutex_unlock(&stream->lock);
	grpc_op start = {.op = GRPC_OP_SEND_INITIAL_METADATA};
	grpc_op final = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &stream->cancelled};
	rpc_stream_ref(stream);
	start_batch(stream, &start, 1, &stream->start);
	let_sends_follow(stream);
	start_batch(stream, &final, 1, &stream->final);
	if (stream->events != NULL)
		receive_next(stream);
	else // refused by its handler, or forgotten by it
		rpc_stream_finish(stream, RPC_UNIMPLEMENTED, "not served");
	rpc_stream_unref(stream);
}

void rpc_stream_accept(struct rpc_stream *stream, const struct rpc_stream_events *events, void *user)
{
	stream->events = events;
	stream->user = user;
}

// How a side ends; a client's has neither.
struct ending {
	enum rpc_status status;
	char *detail; // taken on success only
};

// Counts what is to wait. False when a limit is hit, for which the call then ends: its peer does not read.
static bool make_room(struct rpc_stream *stream, size_t bytes)
{
	struct stream_limits *limits = stream->limits;
	if (limits == NULL)
		return true;
	uint64_t all = atomic_fetch_add(&limits->buffered, bytes) + bytes;
	uint64_t own = atomic_fetch_add(&stream->buffered, bytes) + bytes;
	if (all <= limits->buffered_bytes && own <= limits->buffered_bytes / CALLS_SHARE)
		return true;
	give_room(stream, bytes);
	char detail[160];
	snprintf(detail, sizeof(detail),
		 "%" PRIu64 " bytes of responses are queued because you do not read them, %" PRIu64
		 " for all callers: over the limit (penstockd --max-buffered)",
		 own - bytes, all - bytes);
	pthread_mutex_lock(&stream->lock);
	bool first = !stream->over;
	stream->over = true;
	pthread_mutex_unlock(&stream->lock);
	if (first)
		stream_limits_hit(limits, RPC_LIMIT_BUFFERED, detail);
	let_go(stream, true, detail);
	return false;
}

// Takes `message`, for which waiting costs `bytes`; NULL with an ending. False when the stream is over already.
static bool enqueue(struct rpc_stream *stream, grpc_byte_buffer *message, size_t bytes, const struct ending *ending)
{
	bytes += sizeof(struct outgoing);
	if (ending == NULL && !make_room(stream, bytes)) { // an ending always has room
		grpc_byte_buffer_destroy(message);
		return false;
	}
	struct outgoing *outgoing = malloc(sizeof(*outgoing));
	if (outgoing == NULL) {
		if (ending == NULL)
			give_room(stream, bytes);
		if (message != NULL)
			grpc_byte_buffer_destroy(message);
		rpc_stream_cancel(stream);
		return false;
	}
	*outgoing = (struct outgoing){.message = message, .bytes = ending == NULL ? bytes : 0};
	pthread_mutex_lock(&stream->lock);
	bool accepted = !stream->over;
	if (accepted) {
		*stream->tail = outgoing;
		stream->tail = &outgoing->next;
	}
	if (accepted && ending != NULL) {
		stream->over = true;
		stream->finish_status = ending->status;
		stream->finish_detail = ending->detail;
	}
	bool started = stream->started;
	pthread_mutex_unlock(&stream->lock);
	if (!accepted)
		outgoing_free(stream, outgoing);
	else if (started)
		send_next(stream);
	return accepted;
}

bool rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *header, struct buffer *payload, size_t offset,
		     size_t size)
{
	grpc_byte_buffer *message = message_encode(header, payload, offset, size);
	return enqueue(stream, message, grpc_byte_buffer_length(message) - size, NULL);
}

void rpc_stream_half_close(struct rpc_stream *stream)
{
	enqueue(stream, NULL, 0, &(struct ending){.status = RPC_OK});
}

void rpc_stream_finish(struct rpc_stream *stream, enum rpc_status status, const char *detail)
{
	if (stream->is_client) {
		rpc_stream_cancel(stream);
		return;
	}
	struct ending ending = {status, detail != NULL ? strdup(detail) : NULL};
	if (!enqueue(stream, NULL, 0, &ending))
		free(ending.detail);
}

grpc_call *stream_call(const struct rpc_stream *stream)
{
	return stream->call;
}

void rpc_stream_peer_names(struct rpc_stream *stream, char *into, size_t size)
{
	tls_list_names(stream->call, into, size);
}

const char *rpc_stream_peer(struct rpc_stream *stream)
{
	return stream->peer;
}
