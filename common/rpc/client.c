// Channels and the calls started on them.
#include <stdlib.h>
#include <string.h>

#include "common/base/address.h"
#include "common/rpc/internal.h"

enum { CONNECT_TIMEOUT_MS = 5000 }; // of one attempt, where the caller names no other

struct rpc_client {
	grpc_channel *channel;
	bool over_tls;
	char *address;
};

static grpc_channel *create_plain_channel(const char *address, const grpc_channel_args *args)
{
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	grpc_channel *channel = grpc_channel_create(address, credentials, args);
	grpc_channel_credentials_release(credentials);
	return channel;
}

bool rpc_client_create(const char *address, const struct rpc_client_options *options, struct rpc_client **ret_client,
		       struct error *error)
{
	grpc_arg args[RUNTIME_MAXIMUM_ARGUMENTS];
	size_t count = runtime_arguments(RPC_MAXIMUM_MESSAGE_BYTES, RPC_MAXIMUM_METADATA_BYTES, args);
	// Clients with equal arguments would otherwise share one connection.
	args[count++] = runtime_argument(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
	args[count++] = runtime_argument(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
	args[count++] = runtime_argument(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
	args[count++] = runtime_argument(GRPC_ARG_ENABLE_RETRIES, 0); // a retry would keep a copy of what was sent
	uint32_t connect_ms = options->connect_timeout_ms > 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	args[count++] = runtime_argument(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, (int)connect_ms);
	args[count++] = runtime_argument(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
	args[count++] = runtime_argument(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS);
	if (options->keepalive_ms > 0) {
		count += runtime_keepalive(options->keepalive_ms, args + count);
		args[count++] = runtime_argument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
	}
	struct rpc_client *client = calloc(1, sizeof(*client));
	char *copy = strdup(address);
	if (client == NULL || copy == NULL) {
		free(client);
		free(copy);
		return error_set(error, ERROR_FAILED, "no memory for a client of %s", address);
	}
	client->over_tls = options->tls != NULL && !address_is_socket(address);
	client->channel = client->over_tls ? tls_create_channel(options->tls, address, args, count)
					   : create_plain_channel(address, &(grpc_channel_args){count, args});
	client->address = copy;
	*ret_client = client;
	return true;
}

void rpc_client_destroy(struct rpc_client *client)
{
	if (client == NULL)
		return;
	grpc_channel_destroy(client->channel);
	free(client->address);
	free(client);
}

struct rpc_stream *rpc_client_stream(struct rpc_client *client, const char *method, uint32_t deadline_ms,
				     const struct rpc_stream_events *events, void *user)
{
	gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
	if (deadline_ms > 0)
		deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(deadline_ms, GPR_TIMESPAN));
	grpc_slice name = grpc_slice_from_copied_string(method);
	grpc_call *call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, runtime_queue(),
						   name, NULL, deadline, NULL);
	grpc_slice_unref(name);
	struct rpc_stream *stream = stream_create(call, true, client->over_tls);
	if (stream != NULL)
		stream_start_client(stream, events, user);
	return stream;
}

// ---- A unary call

struct rpc_call {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const ProtobufCMessageDescriptor *type;
	uint32_t deadline_ms;
	struct rpc_stream *stream;
	ProtobufCMessage *response;
	bool closed;
	struct error error; // code NONE until something is wrong
};

static void call_message(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct rpc_call *call = user;
	if (call->response == NULL)
		call->response = rpc_incoming_unpack(incoming, call->type, NULL, &call->error);
}

static void call_closed(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	struct rpc_call *call = user;
	pthread_mutex_lock(&call->lock);
	call->closed = true;
	if (status == RPC_DEADLINE_EXCEEDED &&
	    strcmp(detail, "Deadline Exceeded") == 0) // gRPC's own words say not whose
		error_set(&call->error, rpc_status_to_error_code(status),
			  "no answer within %g s: is the host up, and does penstockd answer there? systemctl status "
			  "penstockd",
			  call->deadline_ms / 1000.0);
	else if (status != RPC_OK)
		rpc_status_explain(status, detail, &call->error);
	else if (call->response == NULL && call->error.code == ERROR_NONE)
		error_set(&call->error, ERROR_PROTOCOL, "the answer is empty");
	pthread_cond_signal(&call->changed);
	pthread_mutex_unlock(&call->lock);
}

static void free_call(struct rpc_call *call)
{
	pthread_cond_destroy(&call->changed);
	pthread_mutex_destroy(&call->lock);
	free(call);
}

bool rpc_client_begin(struct rpc_client *client, const char *method, uint32_t deadline_ms,
		      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response_type,
		      struct rpc_call **ret_call, struct error *error)
{
	static const struct rpc_stream_events events = {.message = call_message, .closed = call_closed};
	struct rpc_call *call = calloc(1, sizeof(*call));
	if (call == NULL)
		return error_set(error, ERROR_FAILED, "no memory for a call to %s", client->address);
	pthread_mutex_init(&call->lock, NULL);
	pthread_cond_init(&call->changed, NULL);
	call->type = response_type;
	call->deadline_ms = deadline_ms;
	call->stream = rpc_client_stream(client, method, deadline_ms, &events, call);
	if (call->stream == NULL) {
		free_call(call);
		return error_set(error, ERROR_FAILED, "no memory for a call to %s", client->address);
	}
	rpc_stream_send(call->stream, request, NULL, 0, 0);
	rpc_stream_half_close(call->stream);
	*ret_call = call;
	return true;
}

bool rpc_call_is_over(struct rpc_call *call)
{
	pthread_mutex_lock(&call->lock);
	bool closed = call->closed;
	pthread_mutex_unlock(&call->lock);
	return closed;
}

void rpc_call_cancel(struct rpc_call *call)
{
	rpc_stream_cancel(call->stream);
}

bool rpc_call_end(struct rpc_call *call, ProtobufCMessage **ret_response, struct error *error)
{
	pthread_mutex_lock(&call->lock);
	while (!call->closed)
		pthread_cond_wait(&call->changed, &call->lock);
	pthread_mutex_unlock(&call->lock);
	rpc_stream_unref(call->stream);
	bool ok = call->error.code == ERROR_NONE;
	if (ok)
		*ret_response = call->response;
	else if (call->response != NULL)
		protobuf_c_message_free_unpacked(call->response, NULL);
	if (!ok && error != NULL)
		*error = call->error;
	free_call(call);
	return ok;
}

bool rpc_client_call(struct rpc_client *client, const char *method, uint32_t deadline_ms,
		     const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response_type,
		     ProtobufCMessage **ret_response, struct error *error)
{
	struct rpc_call *call = NULL;
	return rpc_client_begin(client, method, deadline_ms, request, response_type, &call, error) &&
	       rpc_call_end(call, ret_response, error);
}
