// See stage_session.h.
#include "coordinator/run/stage_session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"

struct stage_session {
	struct stage_session_options options;
	struct rpc_client *client;
	struct rpc_stream *stream;
	uint64_t begun_ns;
	_Atomic(uint64_t) heard_ns, moved_ns, device_ns;
	uint64_t instructions; // of the last heartbeat; the callbacks' own
	_Atomic(bool) is_heard;
	_Atomic(bool) held; // we do not listen: a chunk of a saved parameter is with the job's thread
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool over;
};

// The payload of a saved parameter, copied; the next message is read when the job's thread has dealt with this one.
static bool take_payload(struct stage_session *session, struct rpc_stream *stream, const struct rpc_incoming *incoming,
			 struct stage_event *event)
{
	event->payload = buffer_create(rpc_incoming_payload_size(incoming));
	if (event->payload == NULL)
		return error_set(&event->error, ERROR_FAILED, "no memory for a chunk of a saved parameter");
	rpc_incoming_copy_payload(incoming, event->payload->data);
	atomic_store(&session->held, true);
	rpc_stream_hold(stream);
	return true;
}

static void take_heartbeat(struct stage_session *session, const struct heartbeat_report *heartbeat)
{
	if (heartbeat->instructions != session->instructions)
		atomic_store(&session->moved_ns, clock_now_ns());
	session->instructions = heartbeat->instructions;
	atomic_store(&session->device_ns, heartbeat->device_ns);
}

static void on_message(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct stage_session *session = user;
	struct stage_event event = {.rank = session->options.rank};
	atomic_store(&session->heard_ns, clock_now_ns());
	atomic_store(&session->is_heard, true);
	event.response = wire_response_read(incoming, &event.error);
	bool ok = event.response != NULL;
	if (ok && event.response->kind == RESPONSE_HEARTBEAT) {
		take_heartbeat(session, &event.response->heartbeat);
		wire_response_free(event.response);
		return;
	}
	atomic_store(&session->moved_ns, clock_now_ns());
	if (ok && event.response->kind == RESPONSE_SAVED_PARAMETER)
		ok = take_payload(session, stream, incoming, &event);
	if (!ok) {
		wire_response_free(event.response);
		event.response = NULL;
		rpc_stream_cancel(stream);
	}
	stage_events_push(session->options.events, &event);
}

static void on_closed(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	struct stage_session *session = user;
	struct stage_event event = {.rank = session->options.rank, .was_heard = atomic_load(&session->is_heard)};
	rpc_status_explain(status, detail, &event.error);
	// A call that ends without being asked to is a daemon that was lost, whatever the transport calls it.
	enum error_code code = event.error.code;
	if (code == ERROR_NONE || code == ERROR_CANCELLED || code == ERROR_FAILED)
		event.error.code = ERROR_UNREACHABLE;
	stage_events_push(session->options.events, &event);
	pthread_mutex_lock(&session->lock);
	session->over = true;
	pthread_cond_signal(&session->changed);
	pthread_mutex_unlock(&session->lock);
}

bool stage_session_create(const struct stage_session_options *options, struct stage_session **ret_session,
			  struct error *error)
{
	static const struct rpc_stream_events events = {.message = on_message, .closed = on_closed};
	struct rpc_client_options client = {
		.keepalive_ms = PROTOCOL_KEEPALIVE_MS, .connect_timeout_ms = PROTOCOL_TIMEOUT_MS, .tls = options->tls};
	struct stage_session *session = calloc(1, sizeof(*session));
	if (session == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	session->options = *options;
	session->begun_ns = clock_now_ns();
	session->heard_ns = session->begun_ns;
	session->moved_ns = session->begun_ns;
	pthread_mutex_init(&session->lock, NULL);
	pthread_cond_init(&session->changed, NULL);
	if (!rpc_client_create(options->address, &client, &session->client, error)) {
		free(session);
		return false;
	}
	session->stream = rpc_client_stream(session->client, PROTOCOL_METHOD_SESSION, 0, &events, session);
	if (session->stream == NULL) {
		rpc_client_destroy(session->client);
		free(session);
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	*ret_session = session;
	return true;
}

void stage_session_destroy(struct stage_session *session)
{
	if (session == NULL)
		return;
	rpc_stream_cancel(session->stream);
	pthread_mutex_lock(&session->lock);
	while (!session->over)
		pthread_cond_wait(&session->changed, &session->lock);
	pthread_mutex_unlock(&session->lock);
	rpc_stream_unref(session->stream);
	rpc_client_destroy(session->client);
	pthread_cond_destroy(&session->changed);
	pthread_mutex_destroy(&session->lock);
	free(session);
}

void stage_session_resume(struct stage_session *session)
{
	uint64_t now_ns = clock_now_ns(); // while reading was paused, it could not be heard
	atomic_store(&session->heard_ns, now_ns);
	atomic_store(&session->moved_ns, now_ns);
	atomic_store(&session->held, false);
	rpc_stream_resume(session->stream);
}

uint64_t stage_session_heard_ns(struct stage_session *session)
{
	return atomic_load(&session->held) ? clock_now_ns() : atomic_load(&session->heard_ns);
}

void stage_session_movement(struct stage_session *session, struct stage_movement *ret_movement)
{
	*ret_movement = (struct stage_movement){.moved_ns = atomic_load(&session->moved_ns),
						.device_ns = atomic_load(&session->device_ns),
						.is_heard = atomic_load(&session->is_heard),
						.begun_ns = session->begun_ns};
}

// ---- Requests

static void send(struct stage_session *session, const struct wire_request *request)
{
	wire_request_send(session->stream, request, NULL, 0);
}

void stage_session_open(struct stage_session *session, const struct open_order *open)
{
	send(session, &(struct wire_request){.kind = REQUEST_OPEN, .open = *open});
}

static struct byte_span token_of(const struct stage_session_next *next)
{
	return (struct byte_span){next->token, PROTOCOL_TOKEN_BYTES};
}

void stage_session_connect(struct stage_session *session, const struct stage_session_next *next_stage,
			   const struct stage_session_next *next_replica, const uint8_t *group_id)
{
	struct connect_order connect = {0};
	if (next_stage->address != NULL) {
		connect.next_address = next_stage->address;
		connect.next_link_token = token_of(next_stage);
	}
	if (next_replica->address != NULL) {
		connect.next_replica_address = next_replica->address;
		connect.next_replica_token = token_of(next_replica);
	}
	if (group_id != NULL)
		connect.group_id = (struct byte_span){group_id, PROTOCOL_GROUP_ID_BYTES};
	send(session, &(struct wire_request){.kind = REQUEST_CONNECT, .connect = connect});
}

void stage_session_kernel_answers(struct stage_session *session, const struct kernel_answers *answers)
{
	send(session, &(struct wire_request){.kind = REQUEST_KERNEL_ANSWERS, .kernel_answers = *answers});
}

void stage_session_time_kernels(struct stage_session *session, const struct kernel_keys *keys)
{
	send(session, &(struct wire_request){.kind = REQUEST_TIME_KERNELS, .time_kernels = *keys});
}

void stage_session_load(struct stage_session *session, const struct parameter_chunk *chunk, struct buffer *values,
			size_t size)
{
	struct wire_request request = {.kind = REQUEST_LOAD_PARAMETER, .load_parameter = *chunk};
	wire_request_send(session->stream, &request, values, size);
}

void stage_session_run_step(struct stage_session *session, const struct step_order *order)
{
	send(session, &(struct wire_request){.kind = REQUEST_RUN_STEP, .run_step = *order});
}

void stage_session_batch(struct stage_session *session, const struct batch *batch, struct buffer *data)
{
	struct wire_request request = {.kind = REQUEST_BATCH, .batch = *batch};
	wire_request_send(session->stream, &request, data, data->size);
	buffer_unref(data);
}

void stage_session_gradient_scale(struct stage_session *session, const struct gradient_answer *answer)
{
	send(session, &(struct wire_request){.kind = REQUEST_GRADIENT_SCALE, .gradient_scale = *answer});
}

void stage_session_save(struct stage_session *session)
{
	send(session, &(struct wire_request){.kind = REQUEST_SAVE});
}

void stage_session_close(struct stage_session *session)
{
	send(session, &(struct wire_request){.kind = REQUEST_CLOSE});
}

void stage_session_heartbeat(struct stage_session *session)
{
	send(session, &(struct wire_request){.kind = REQUEST_HEARTBEAT});
}
