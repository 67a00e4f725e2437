// What the files of common/rpc share. Nobody else includes this, nor <grpc/...>.
#pragma once

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/rpc/rpc.h"
#include "common/rpc/tls.h"

void grpc_log_begin(void); // grpc_log.c

// ---- runtime.c: the completion queue, and what its tags are

// Embedded in what waits for a batch; the tag is its address. Runs on a completion-queue thread.
struct operation {
	void (*complete)(struct operation *operation, bool ok);
};

// Right before an operation is handed to gRPC: what was written until now is seen by its `complete`. gRPC's own locks see
// to that, too; but they are inside a library that ThreadSanitizer cannot look into.
void runtime_hand_over(void);

grpc_completion_queue *runtime_queue(void); // NULL before rpc_start
void runtime_count_stream(int change);      // 1 when a stream begins, -1 when it is over: rpc_stop waits for 0

// Channel arguments common to both ends, with the most that one receives; fills `ret_args` from index 0 and returns how many.
enum { RUNTIME_MAXIMUM_ARGUMENTS = 24 };
size_t runtime_arguments(uint32_t message_bytes, uint32_t metadata_bytes, grpc_arg ret_args[RUNTIME_MAXIMUM_ARGUMENTS]);
grpc_arg runtime_argument(const char *key, int value);
// Those of keepalive, where a side asks for it; returns how many.
size_t runtime_keepalive(uint32_t interval_ms, grpc_arg *ret_args);

// ---- message.c: the codec

// Header and payload to slices; the payload's slice holds a reference on `payload`. Never NULL: without
// memory gRPC ends the process.
grpc_byte_buffer *message_encode(const ProtobufCMessage *header, struct buffer *payload, size_t offset, size_t size);

struct rpc_incoming {
	const grpc_slice *slices;
	size_t slice_count;
	size_t total_bytes;
	size_t header_bytes;   // up to the payload's tag
	size_t payload_offset; // of its first byte; total_bytes when there is none
	size_t payload_bytes;
	const char *malformed; // why it is no message, or NULL
};
// Finds the payload. `buffer` is borrowed and must outlive the result.
void message_inspect(const grpc_byte_buffer *buffer, struct rpc_incoming *ret_incoming);

// ---- tls.c

// The end of a server's address; valid as long as the server.
struct tls_listener {
	struct rpc_tls *tls;
	uint64_t generation; // of the certificates that it has: tls.c's
};
grpc_server_credentials *tls_server_credentials(struct tls_listener *listener);

// `args` has room for one more.
grpc_channel *tls_create_channel(struct rpc_tls *tls, const char *address, grpc_arg *args, size_t count);

struct tls_names {
	const char *const *names;
	uint32_t count;
};
bool tls_secures(grpc_call *call); // false: it came over a connection without TLS
bool tls_peer_is_one_of(grpc_call *call, const struct tls_names *names);
void tls_list_names(grpc_call *call, char *into, size_t size); // printable; "" without a certificate

// ---- advice.c: a connection that failed, in words

// Replaces gRPC's `detail` with the cause and what to do about it; false: unknown, and unchanged.
bool advice_add(bool over_tls, char *detail, size_t size);

// ---- stream.c: one call, either side

// What a server's streams hold to together; those of a client have none.
struct stream_limits {
	size_t message_bytes;                   // received
	uint64_t buffered_bytes;                // waiting to be sent, without payloads; UINT64_MAX: any number
	_Atomic(uint64_t) buffered;             // now
	const struct rpc_server_events *events; // NULL: nobody listens
	void *user;
};
void stream_limits_hit(const struct stream_limits *limits, enum rpc_limit limit, const char *detail);

// Takes `call`. A client's stream starts at once; a server's waits for stream_start_server. `over_tls`: a client's.
struct rpc_stream *stream_create(grpc_call *call, bool is_client, bool over_tls);
grpc_call *stream_call(const struct rpc_stream *stream); // borrowed
void stream_start_client(struct rpc_stream *stream, const struct rpc_stream_events *events, void *user);
void stream_set_limits(struct rpc_stream *stream, struct stream_limits *limits); // borrowed; before it starts
// After the handler returned. `gone` is called when the stream is over, after `closed`.
void stream_start_server(struct rpc_stream *stream, void (*gone)(void *server, const char *peer, bool cancelled),
			 void *server);
