// A small layer over gRPC core, and the only place that includes it: servers, clients and bidirectional streams of
// protobuf-c messages with an optional bulk payload.
//
// A message on the wire is one protobuf message. Where its type ends in `bytes payload = 15`, the payload is given
// apart: it is sent from the buffer's own memory (never copied) and received with one copy, to where the receiver says.
//
// Threads: every function may be called from any thread unless it says otherwise. Callbacks run on gRPC's
// completion-queue threads: they must not block, and for one stream they never run at the same time.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/rpc/tls.h"

enum {
	RPC_PAYLOAD_FIELD = 15,
	RPC_MAXIMUM_HEADER_BYTES = 1 << 20,  // a message without its payload
	RPC_MAXIMUM_MESSAGE_BYTES = 9 << 20, // with it
	RPC_MAXIMUM_METADATA_BYTES = 16 << 10,
};

// gRPC's status codes, those we use.
enum rpc_status {
	RPC_OK = 0,
	RPC_CANCELLED = 1,
	RPC_INVALID_ARGUMENT = 3,
	RPC_DEADLINE_EXCEEDED = 4,
	RPC_NOT_FOUND = 5,
	RPC_PERMISSION_DENIED = 7,
	RPC_RESOURCE_EXHAUSTED = 8,
	RPC_FAILED_PRECONDITION = 9,
	RPC_UNIMPLEMENTED = 12,
	RPC_INTERNAL = 13,
	RPC_UNAVAILABLE = 14,
};
const char *rpc_status_name(enum rpc_status status);
// The error of a call that ended with `status`, which is not OK. Always returns false.
bool rpc_status_explain(enum rpc_status status, const char *detail, struct error *error);
enum rpc_status rpc_status_from_error(const struct error *error);
// ERROR_UNREACHABLE for UNAVAILABLE and DEADLINE_EXCEEDED, ERROR_USAGE for INVALID_ARGUMENT, and so on.
enum error_code rpc_status_to_error_code(enum rpc_status status);

// The whole process, once each: grpc_init and the completion-queue threads, which all servers and clients share. From here on
// all threads allocate from one arena of the C library.
bool rpc_start(uint32_t threads, struct error *error);
// How long the thread that has been in its callback longest has been there: 0 to a few ms, or one of them hangs.
uint64_t rpc_stuck_ns(void);
// How long what arrives waits, at most, until its callback begins: 0 to a few ms, or the network's threads are behind. One thread; to be
// asked often, for each time is the measure of the next.
uint64_t rpc_lag_ns(void);
// Ends the process after rpc_stop as exit() does, but for the destructors of libraries: gRPC's own threads still run, and would meet them.
_Noreturn void rpc_exit(int code);
void rpc_stop(void); // after every server is stopped and client destroyed; waits until every stream is over

// ---- Messages received

// Borrowed by a message callback until it returns.
struct rpc_incoming;

// Unpacks everything but the payload, into the allocator's memory (NULL: the C library's). Returns owned (free with the type's own
// free_unpacked), or NULL with ERROR_PROTOCOL when the bytes are no such message, the payload is not its last field, or a length is over
// the maximum.
ProtobufCMessage *rpc_incoming_unpack(const struct rpc_incoming *incoming, const ProtobufCMessageDescriptor *type,
				      ProtobufCAllocator *allocator, struct error *error);
size_t rpc_incoming_payload_size(const struct rpc_incoming *incoming);
// Copies the whole payload to `destination`, which has at least rpc_incoming_payload_size bytes.
void rpc_incoming_copy_payload(const struct rpc_incoming *incoming, void *destination);

// ---- Streams: the same on both sides; a unary call is a stream with one message each way

struct rpc_stream;

struct rpc_stream_events {
	// A message came. The next is read when this returns, unless it held the stream.
	void (*message)(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user);
	// The peer will send no more (server side only; optional: the default does nothing).
	void (*half_closed)(struct rpc_stream *stream, void *user);
	// The last callback, exactly once, on every path: also after rpc_stream_cancel and when the peer vanished.
	void (*closed)(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user);
};

// Queues a message; never blocks. The header is packed at once; `payload` (may be NULL) is referenced until gRPC let go
// of it: [offset, offset + size) of it is sent. False when the stream is over, which `closed` reports.
bool rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *header, struct buffer *payload, size_t offset,
		     size_t size);
void rpc_stream_half_close(struct rpc_stream *stream); // client: no more from here; sent after what is queued
// Server: ends the call, after what is queued. Client: the same as cancel. Later calls do nothing.
void rpc_stream_finish(struct rpc_stream *stream, enum rpc_status status, const char *detail);
void rpc_stream_cancel(struct rpc_stream *stream);      // now, held or not; `closed` still comes
const char *rpc_stream_peer(struct rpc_stream *stream); // "ipv4:127.0.0.1:4711", for logs; lives as long as the stream
// The names in the peer's certificate, for logs: "node-1.example.org, 10.0.0.1"; "" when it showed none.
void rpc_stream_peer_names(struct rpc_stream *stream, char *into, size_t size);
// From a message callback: the next message is read only after rpc_stream_resume or rpc_stream_cancel, so that the peer is
// held back. Whoever holds must do one of them, also when the call is over: `closed` waits for it.
void rpc_stream_hold(struct rpc_stream *stream);
void rpc_stream_resume(struct rpc_stream *stream); // does nothing when it is not held
void rpc_stream_ref(struct rpc_stream *stream);
// The stream is freed when `closed` has returned and every reference (the starter holds one) is gone.
void rpc_stream_unref(struct rpc_stream *stream); // takes NULL

// ---- Server

struct rpc_server;

// A call arrived. Set its events with rpc_stream_accept before returning (or rpc_stream_finish it at once). The handler
// owns the reference in `stream`.
typedef void (*rpc_handler)(struct rpc_stream *stream, void *user);

struct rpc_method {
	const char *name; // "/penstock.v1.StageServer/Session"
	rpc_handler handler;
	void *user;
	bool for_everybody; // also for those whom `allowed_names` leaves out
};

// Limits that the server itself sees hit. gRPC's own bounds are twice as high, so that what is over ours is told what was
// wrong; what is over gRPC's is refused by gRPC, which does not say so here.
enum rpc_limit { RPC_LIMIT_MESSAGE, RPC_LIMIT_METADATA, RPC_LIMIT_BUFFERED };

// On gRPC's threads; all optional: the default does nothing.
struct rpc_server_events {
	bool (*call_began)(const char *peer, void *user); // false: it is dropped, for it costs more than it is worth
	// Of each that was not dropped. `cancelled`: by the peer, or with its connection, before it was answered.
	void (*call_ended)(const char *peer, bool cancelled, void *user);
	void (*limit_hit)(enum rpc_limit limit, const char *detail, void *user);
	void (*call_refused)(struct rpc_stream *stream, const char *method, void *user); // by `allowed_names`
};

// A limit that is 0 is not set, where nothing else is said.
struct rpc_server_options {
	const char *const *addresses; // "127.0.0.1:0", "unix:/run/penstock.sock"
	uint32_t address_count;
	uint32_t keepalive_ms; // 0: gRPC's own
	struct rpc_tls *tls;   // NULL: without TLS; outlives the server. See tls.h
	// A call over TLS ends PERMISSION_DENIED unless the caller's certificate bears one of these names (rpc_name_matches).
	// Borrowed as long as the server; none: whoever has a certificate.
	const char *const *allowed_names;
	uint32_t allowed_name_count;
	uint32_t maximum_concurrent_streams; // per connection
	uint32_t maximum_message_bytes;      // received; 0: RPC_MAXIMUM_MESSAGE_BYTES
	uint32_t maximum_metadata_bytes;     // of a call, as HTTP/2 counts; 0: RPC_MAXIMUM_METADATA_BYTES
	// Of all connections: what gRPC holds in buffers, and, apart from that, messages that wait to be sent, without their payloads.
	// Of the second, one call may have a sixteenth.
	uint64_t maximum_buffered_bytes;
	uint32_t idle_timeout_ms;      // after which a connection without a call is closed
	uint32_t handshake_timeout_ms; // for TLS and HTTP/2's first frames; 0: gRPC's own
	const struct rpc_server_events *events;
	void *user;
};

// Listens before it returns. Unknown methods are answered UNIMPLEMENTED.
bool rpc_server_start(const struct rpc_server_options *options, const struct rpc_method *methods, uint32_t method_count,
		      struct rpc_server **ret_server, struct error *error);
int rpc_server_port(const struct rpc_server *server, uint32_t address); // the one bound, for port 0
void rpc_server_stop(struct rpc_server *server); // refuses new calls, cancels those that run, waits for their `closed`
void rpc_server_destroy(struct rpc_server *server); // takes NULL; after stop

void rpc_stream_accept(struct rpc_stream *stream, const struct rpc_stream_events *events, void *user);

// ---- Client

struct rpc_client; // one address over one connection of its own: several clients to one address do not share it

struct rpc_client_options {
	uint32_t keepalive_ms;       // 0: none
	uint32_t connect_timeout_ms; // of one attempt, until the other end speaks HTTP/2; 0: 5 s
	struct rpc_tls *tls;         // NULL: without TLS; outlives the client. See tls.h
};

// Does not connect yet. `address` as a server's. Returns owned.
bool rpc_client_create(const char *address, const struct rpc_client_options *options, struct rpc_client **ret_client,
		       struct error *error);
void rpc_client_destroy(struct rpc_client *client); // takes NULL; its streams may outlive it

// Starts a call; `deadline_ms` 0: none. Fails only for want of memory: what goes wrong later comes through `closed`. Returns owned.
struct rpc_stream *rpc_client_stream(struct rpc_client *client, const char *method, uint32_t deadline_ms,
				     const struct rpc_stream_events *events, void *user);

// A unary call that is begun now and ended later, so that many may be on their way at once. Every call that was begun is ended, with
// rpc_call_end.
struct rpc_call;
bool rpc_client_begin(struct rpc_client *client, const char *method, uint32_t deadline_ms,
		      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response_type,
		      struct rpc_call **ret_call, struct error *error);
bool rpc_call_is_over(struct rpc_call *call);
void rpc_call_cancel(struct rpc_call *call); // it is over soon, and failed
// Waits, so not from a callback; frees the call. `*ret_response` is returned owned.
bool rpc_call_end(struct rpc_call *call, ProtobufCMessage **ret_response, struct error *error);
// Both at once.
bool rpc_client_call(struct rpc_client *client, const char *method, uint32_t deadline_ms,
		     const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response_type,
		     ProtobufCMessage **ret_response, struct error *error);
