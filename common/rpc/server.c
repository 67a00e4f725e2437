// Listening, and handing each call to its method's handler.
#include <errno.h>
#include <grpc/support/alloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/address.h"
#include "common/rpc/internal.h"

enum {
	MAXIMUM_ADDRESSES = 16,
	MAXIMUM_METHODS = 16,
	METADATA_OVERHEAD_BYTES = 32, // of an entry, as HTTP/2 counts (RFC 9113, 6.5.2)
};

struct rpc_server {
	grpc_server *server;
	struct rpc_method methods[MAXIMUM_METHODS];
	uint32_t method_count;
	struct stream_limits limits;
	size_t metadata_bytes; // most of a call
	int ports[MAXIMUM_ADDRESSES];
	struct tls_listener listeners[MAXIMUM_ADDRESSES];
	struct tls_names allowed;

	struct operation arrival, shutdown;
	// Filled by gRPC for the next call.
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;

	pthread_mutex_t lock; // the rest
	pthread_cond_t changed;
	uint32_t streams;
	bool arrival_done, shutdown_done;
};

static void ask_for_call(struct rpc_server *server)
{
	grpc_call_details_init(&server->details);
	grpc_metadata_array_init(&server->metadata);
	server->call = NULL;
	runtime_hand_over();
	if (grpc_server_request_call(server->server, &server->call, &server->details, &server->metadata,
				     runtime_queue(), runtime_queue(), &server->arrival) != GRPC_CALL_OK)
		server->arrival.complete(&server->arrival, false);
}

static void leave(struct rpc_server *server)
{
	pthread_mutex_lock(&server->lock);
	server->streams--;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
}

static void stream_gone(void *user, const char *peer, bool cancelled)
{
	struct rpc_server *server = user;
	const struct rpc_server_events *events = server->limits.events;
	if (events != NULL && events->call_ended != NULL)
		events->call_ended(peer, cancelled, server->limits.user);
	leave(server);
}

static size_t metadata_bytes(const grpc_metadata_array *metadata)
{
	size_t bytes = 0;
	for (size_t i = 0; i < metadata->count; i++)
		bytes += GRPC_SLICE_LENGTH(metadata->metadata[i].key) + GRPC_SLICE_LENGTH(metadata->metadata[i].value) +
			 METADATA_OVERHEAD_BYTES;
	return bytes;
}

static void refuse_metadata(struct rpc_server *server, struct rpc_stream *stream, size_t bytes)
{
	char detail[160];
	snprintf(detail, sizeof(detail),
		 "the call has %zu bytes of metadata; the maximum is %zu (penstockd --max-metadata-size)", bytes,
		 server->metadata_bytes);
	stream_limits_hit(&server->limits, RPC_LIMIT_METADATA, detail);
	rpc_stream_finish(stream, RPC_RESOURCE_EXHAUSTED, detail);
}

// Who comes without TLS came over a Unix socket, or to a server without TLS.
static bool is_allowed(const struct rpc_server *server, const struct rpc_stream *stream,
		       const struct rpc_method *method)
{
	grpc_call *call = stream_call(stream);
	return server->allowed.count == 0 || method->for_everybody || !tls_secures(call) ||
	       tls_peer_is_one_of(call, &server->allowed);
}

static void refuse(struct rpc_server *server, struct rpc_stream *stream, const struct rpc_method *method)
{
	char names[200], detail[300];
	rpc_stream_peer_names(stream, names, sizeof(names));
	snprintf(detail, sizeof(detail),
		 "the names in the caller's certificate (%s) are not in this daemon's --allow-name", names);
	rpc_stream_finish(stream, RPC_PERMISSION_DENIED, detail);
	const struct rpc_server_events *events = server->limits.events;
	if (events != NULL && events->call_refused != NULL)
		events->call_refused(stream, method->name, server->limits.user);
}

static void serve(struct rpc_server *server, struct rpc_stream *stream, grpc_slice name, size_t metadata)
{
	const struct rpc_method *method = NULL;
	stream_set_limits(stream, &server->limits);
	if (metadata > server->metadata_bytes) {
		refuse_metadata(server, stream, metadata);
		stream_start_server(stream, stream_gone, server);
		rpc_stream_unref(stream);
		return;
	}
	for (uint32_t i = 0; i < server->method_count && method == NULL; i++)
		if (grpc_slice_str_cmp(name, server->methods[i].name) == 0)
			method = &server->methods[i];
	bool allowed = method == NULL || is_allowed(server, stream, method);
	if (!allowed)
		refuse(server, stream, method);
	else if (method != NULL)
		method->handler(stream, method->user);
	stream_start_server(stream, stream_gone, server);
	if (method == NULL || !allowed) // a handler owns the starter's reference
		rpc_stream_unref(stream);
}

// Takes `call`.
static void admit(struct rpc_server *server, grpc_call *call, grpc_slice name, size_t metadata)
{
	const struct rpc_server_events *events = server->limits.events;
	bool asks = events != NULL && events->call_began != NULL;
	char *peer = grpc_call_get_peer(call);
	if (asks && !events->call_began(peer, server->limits.user)) {
		grpc_call_cancel(call, NULL);
		grpc_call_unref(call);
		leave(server);
	} else {
		struct rpc_stream *stream = stream_create(call, false, false);
		if (stream != NULL)
			serve(server, stream, name, metadata);
		else
			stream_gone(server, peer, false);
	}
	gpr_free(peer);
}

static void arrival_complete(struct operation *operation, bool ok)
{
	struct rpc_server *server = (struct rpc_server *)((char *)operation - offsetof(struct rpc_server, arrival));
	grpc_slice name = grpc_slice_ref(server->details.method);
	size_t metadata = metadata_bytes(&server->metadata);
	grpc_call_details_destroy(&server->details);
	grpc_metadata_array_destroy(&server->metadata);
	grpc_call *call = server->call;
	pthread_mutex_lock(&server->lock);
	if (ok)
		server->streams++;
	else
		server->arrival_done = true;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
	if (ok) {
		// The next call can be served while this one's handler runs; it may even run beside it.
		ask_for_call(server);
		admit(server, call, name, metadata);
	}
	grpc_slice_unref(name);
}

static void shutdown_complete(struct operation *operation, bool ok)
{
	struct rpc_server *server = (struct rpc_server *)((char *)operation - offsetof(struct rpc_server, shutdown));
	pthread_mutex_lock(&server->lock);
	server->shutdown_done = true;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
}

static void set_limits(struct rpc_server *server, const struct rpc_server_options *options)
{
	server->metadata_bytes =
		options->maximum_metadata_bytes > 0 ? options->maximum_metadata_bytes : RPC_MAXIMUM_METADATA_BYTES;
	server->limits.message_bytes =
		options->maximum_message_bytes > 0 ? options->maximum_message_bytes : RPC_MAXIMUM_MESSAGE_BYTES;
	server->limits.buffered_bytes =
		options->maximum_buffered_bytes > 0 ? options->maximum_buffered_bytes : UINT64_MAX;
	server->limits.events = options->events;
	server->limits.user = options->user;
}

// gRPC's own, where we set one.
static size_t limit_arguments(const struct rpc_server_options *options, grpc_arg *args)
{
	size_t count = 0;
	if (options->maximum_concurrent_streams > 0)
		args[count++] =
			runtime_argument(GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)options->maximum_concurrent_streams);
	if (options->idle_timeout_ms > 0)
		args[count++] = runtime_argument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, (int)options->idle_timeout_ms);
	if (options->handshake_timeout_ms > 0)
		args[count++] =
			runtime_argument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, (int)options->handshake_timeout_ms);
	return count;
}

// `*ret_quota` is returned owned: the argument borrows it until a server is made with it.
static grpc_arg quota_argument(uint64_t bytes, grpc_resource_quota **ret_quota)
{
	*ret_quota = grpc_resource_quota_create("penstock");
	grpc_resource_quota_resize(*ret_quota, (size_t)bytes);
	return (grpc_arg){.type = GRPC_ARG_POINTER,
			  .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
			  .value.pointer = {*ret_quota, grpc_resource_quota_arg_vtable()}};
}

static void create_server(struct rpc_server *server, const struct rpc_server_options *options)
{
	grpc_arg args[RUNTIME_MAXIMUM_ARGUMENTS];
	// Twice our own bounds, so that we see what is over them.
	size_t count = runtime_arguments(2 * (uint32_t)server->limits.message_bytes,
					 2 * (uint32_t)server->metadata_bytes, args);
	grpc_resource_quota *quota = NULL;
	if (options->maximum_buffered_bytes > 0)
		args[count++] = quota_argument(options->maximum_buffered_bytes, &quota);
	// Two daemons on one port is a mistake, not load balancing.
	args[count++] = runtime_argument(GRPC_ARG_ALLOW_REUSEPORT, 0);
	// Clients may ask as often as their keepalive likes. With a limit of strikes, gRPC 1.51 answers each ping of a flood with a GOAWAY of its
	// own, and takes hundreds of MiB for them; without one it acknowledges millions in none.
	args[count++] = runtime_argument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
	args[count++] = runtime_argument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
	count += limit_arguments(options, args + count);
	if (options->keepalive_ms > 0)
		count += runtime_keepalive(options->keepalive_ms, args + count);
	server->server = grpc_server_create(&(grpc_channel_args){count, args}, NULL);
	if (quota != NULL)
		grpc_resource_quota_unref(quota);
	grpc_server_register_completion_queue(server->server, runtime_queue(), NULL);
}

// gRPC removes a socket that is in its way, also one that another daemon listens on, who would then be there and not be reached.
static bool is_listened_on(const char *address)
{
	struct sockaddr_un place = {.sun_family = AF_UNIX};
	struct address parts;
	if (!address_parse(address, ADDRESS_WHOLE, &parts, NULL) || parts.kind != ADDRESS_SOCKET)
		return false;
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (descriptor < 0)
		return false;
	snprintf(place.sun_path, sizeof(place.sun_path), "%.*s", (int)sizeof(place.sun_path) - 1, parts.host);
	bool is_taken = connect(descriptor, (const struct sockaddr *)&place, sizeof(place)) == 0 ||
			errno == EAGAIN; // its queue is full
	close(descriptor);
	return is_taken;
}

static bool listen_on(struct rpc_server *server, uint32_t index, const char *address, struct error *error)
{
	struct tls_listener *listener = &server->listeners[index];
	if (is_listened_on(address))
		return error_set(error, ERROR_FAILED, "cannot listen on %s: another process listens there", address);
	grpc_server_credentials *credentials = listener->tls != NULL && !address_is_socket(address)
						       ? tls_server_credentials(listener)
						       : grpc_insecure_server_credentials_create();
	server->ports[index] = grpc_server_add_http2_port(server->server, address, credentials);
	grpc_server_credentials_release(credentials);
	return server->ports[index] != 0 ||
	       error_set(error, ERROR_FAILED,
			 "cannot listen on %s: the address is in use, is not this machine's, or is malformed", address);
}

bool rpc_server_start(const struct rpc_server_options *options, const struct rpc_method *methods, uint32_t method_count,
		      struct rpc_server **ret_server, struct error *error)
{
	if (options->address_count > MAXIMUM_ADDRESSES || method_count > MAXIMUM_METHODS)
		return error_set(error, ERROR_USAGE, "at most %d addresses to listen on", MAXIMUM_ADDRESSES);
	struct rpc_server *server = calloc(1, sizeof(*server));
	if (server == NULL)
		return error_set(error, ERROR_FAILED, "no memory for a server");
	memcpy(server->methods, methods, method_count * sizeof(*methods));
	server->method_count = method_count;
	server->arrival.complete = arrival_complete;
	server->shutdown.complete = shutdown_complete;
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->changed, NULL);
	set_limits(server, options);
	create_server(server, options);
	server->allowed = (struct tls_names){options->allowed_names, options->allowed_name_count};
	for (uint32_t i = 0; i < options->address_count; i++)
		server->listeners[i].tls = options->tls;
	for (uint32_t i = 0; i < options->address_count; i++)
		if (!listen_on(server, i, options->addresses[i], error)) {
			server->arrival_done = true; // none was asked for
			rpc_server_stop(server);
			rpc_server_destroy(server);
			return false;
		}
	grpc_server_start(server->server);
	ask_for_call(server);
	*ret_server = server;
	return true;
}

int rpc_server_port(const struct rpc_server *server, uint32_t address)
{
	return server->ports[address];
}

void rpc_server_stop(struct rpc_server *server)
{
	runtime_hand_over();
	grpc_server_shutdown_and_notify(server->server, runtime_queue(), &server->shutdown);
	grpc_server_cancel_all_calls(server->server);
	pthread_mutex_lock(&server->lock);
	while (!server->shutdown_done || !server->arrival_done || server->streams > 0)
		pthread_cond_wait(&server->changed, &server->lock);
	pthread_mutex_unlock(&server->lock);
}

void rpc_server_destroy(struct rpc_server *server)
{
	if (server == NULL)
		return;
	grpc_server_destroy(server->server);
	pthread_cond_destroy(&server->changed);
	pthread_mutex_destroy(&server->lock);
	free(server);
}
