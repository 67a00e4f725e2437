// What other threads tell a session. Requests come on gRPC's threads: data (batches, parameters) goes straight to the
// executor, which copies it to where it belongs; everything else becomes an event on the loop, where the state is.
// Executors and links report theirs the same way. What an event then does is in session.c.
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "stage_server/session/internal.h"

// Without memory for an event the state would no longer be known: nothing better is left than to end the process, and
// the kernel's memory killer would be next.
static void post(const struct session_event *event)
{
	struct session_event *copy = malloc(sizeof(*copy));
	if (copy == NULL) {
		log_error("no memory for an event of %zu bytes", sizeof(*copy));
		abort();
	}
	*copy = *event;
	copy->event.handler = session_handle_event;
	event_queue_post(event->session->host->options.queue, &copy->event);
}

static enum neighbour side_of(struct session *session, const struct link *link)
{
	enum neighbour side = NEIGHBOUR_PREVIOUS;
	while (executor_link(session->executor, side) != link)
		side++;
	return side;
}

static void on_link_ready(struct link *link, void *user)
{
	struct session *session = user;
	post(&(struct session_event){
		.kind = EVENT_LINK_READY, .session = session, .neighbour = side_of(session, link)});
}

static void on_link_lost(struct link *link, const struct error *error, void *user)
{
	struct session *session = user;
	struct session_event event = {.kind = EVENT_LINK_LOST, .session = session, .neighbour = side_of(session, link)};
	event.flag = error != NULL;
	if (error != NULL)
		event.error = *error;
	post(&event);
}

static void on_link_over(struct link *link, void *user)
{
	struct session *session = user;
	post(&(struct session_event){.kind = EVENT_LINK_OVER, .session = session, .neighbour = side_of(session, link)});
}

const struct link_events session_link_events = {.ready = on_link_ready, .lost = on_link_lost, .over = on_link_over};

static bool on_reserve(void *user, const struct memory_use *use, const struct exchange_use *exchange,
		       struct error *error)
{
	struct session *session = user;
	const struct device_slot *slot = session->slot;
	uint64_t bytes = memory_use_total(use);
	if (slot->shares_host_memory)
		bytes += exchange->host_bytes;
	if (slot->shares_host_memory || slot->exchange_memory.is_device)
		bytes += exchange->handover_bytes;
	if (!ledger_reserve(slot->ledger, bytes, error))
		return error_wrap(error, "device %s", slot->name);
	session->memory = *use;
	atomic_store(&session->exchange_bytes, exchange->host_bytes + exchange->handover_bytes);
	atomic_store(&session->reserved_bytes, bytes);
	return true;
}

static void on_questions(void *user, const struct choice *choices, uint32_t count)
{
	reply_questions(user, choices, count);
}

static void on_candidates(void *user, struct choice *const *open, uint32_t count)
{
	const struct session *session = user;
	struct log_fields fields = session_fields(session);
	log_event(LOG_LEVEL_DEBUG, &fields, "the kernels of %u passes of layers are not known yet", count);
	reply_candidates(user, open, count);
}

static void on_timed(void *user, const struct choice *choice, const uint64_t *ns)
{
	reply_times(user, choice, ns);
}

static void on_opened(void *user, uint64_t parameters)
{
	post(&(struct session_event){.kind = EVENT_OPENED, .session = user, .number = parameters});
}

static void on_joined(void *user)
{
	post(&(struct session_event){.kind = EVENT_JOINED, .session = user});
}

static void on_failed(void *user, const struct error *error, bool lost, enum neighbour neighbour)
{
	post(&(struct session_event){
		.kind = EVENT_FAILED, .session = user, .error = *error, .flag = lost, .neighbour = neighbour});
}

static void on_drained(void *user, uint64_t steps)
{
	post(&(struct session_event){.kind = EVENT_DRAINED, .session = user, .number = steps});
}

static void on_finished(void *user, bool in_good_order)
{
	post(&(struct session_event){.kind = EVENT_FINISHED, .session = user, .flag = in_good_order});
}

static void on_loaded(void *user, const struct parameter *parameter)
{
	const struct session *session = user;
	struct log_fields fields = session_fields(session);
	log_event(LOG_LEVEL_DEBUG, &fields, "loaded %s", parameter->name);
	reply_loaded(user, parameter);
}

static void on_step_done(void *user, const struct step_report *report)
{
	const struct session *session = user;
	struct log_fields fields = session_fields(session);
	log_event(LOG_LEVEL_DEBUG, &fields, "a step took %.3f ms", (double)report->step_ns * 1e-6);
	reply_step(user, report);
}

static void on_norms(void *user, uint64_t step, uint32_t first, const double *squares, uint32_t count)
{
	reply_norms(user, step, first, squares, count);
}

static void on_saved_parameter(void *user, const struct parameter *parameter, struct buffer *values,
			       uint64_t offset_bytes, uint64_t size_bytes)
{
	reply_parameter(user, parameter, values, offset_bytes, size_bytes);
}

static void on_saved(void *user, uint32_t parameters)
{
	reply_saved(user, parameters);
}

const struct executor_events session_executor_events = {
	.questions = on_questions,
	.candidates = on_candidates,
	.timed = on_timed,
	.reserve = on_reserve,
	.opened = on_opened,
	.loaded = on_loaded,
	.joined = on_joined,
	.step_done = on_step_done,
	.gradient_norms = on_norms,
	.saved_parameter = on_saved_parameter,
	.saved = on_saved,
	.failed = on_failed,
	.drained = on_drained,
	.finished = on_finished,
};

// ---- The stream, on gRPC's threads

// Data goes to the executor at once; true when the request was such.
static bool handle_data(struct session *session, const struct wire_request *request,
			const struct rpc_incoming *incoming, struct error *ret_error)
{
	bool batch = request->kind == REQUEST_BATCH;
	if (!batch && request->kind != REQUEST_LOAD_PARAMETER)
		return false;
	pthread_mutex_lock(&session->lock);
	struct executor *executor = session->data_executor; // lives until this stream is over
	pthread_mutex_unlock(&session->lock);
	if (executor == NULL)
		error_set(ret_error, ERROR_PROTOCOL,
			  "unexpected data: this session takes no batch and no parameter now");
	else if (batch)
		executor_put_batch(executor, &request->batch, incoming, ret_error);
	else
		executor_load(executor, &request->load_parameter, incoming, ret_error);
	return true;
}

static void on_message(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct session *session = user;
	struct error error = {.code = ERROR_NONE};
	atomic_store(&session->heard_ns, clock_now_ns());
	struct wire_request *request = wire_request_read(incoming, &error);
	// What is posted holds the stream, so that nobody can fill the loop's queue: the next is read when the loop has been here.
	if (request != NULL && request->kind != REQUEST_HEARTBEAT && !handle_data(session, request, incoming, &error)) {
		rpc_stream_hold(stream);
		post(&(struct session_event){.kind = EVENT_REQUEST, .session = session, .request = request});
		return;
	}
	wire_request_free(request);
	if (error.code == ERROR_NONE)
		return;
	rpc_stream_hold(stream);
	post(&(struct session_event){.kind = EVENT_BROKEN, .session = session, .error = error});
}

static void on_half_closed(struct rpc_stream *stream, void *user)
{
	post(&(struct session_event){.kind = EVENT_HALF_CLOSED, .session = user});
}

static void on_closed(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	post(&(struct session_event){.kind = EVENT_STREAM_OVER, .session = user});
}

void session_host_handle_session(struct rpc_stream *stream, void *user)
{
	static const struct rpc_stream_events events = {
		.message = on_message, .half_closed = on_half_closed, .closed = on_closed};
	struct session *session = calloc(1, sizeof(*session));
	if (session == NULL) {
		rpc_stream_finish(stream, RPC_RESOURCE_EXHAUSTED, "no memory for a session");
		rpc_stream_unref(stream);
		return;
	}
	session->host = user;
	session->stream = stream;
	session->arrived_ns = session->heartbeat_ns = clock_now_ns();
	session->heard_ns = session->arrived_ns;
	pthread_mutex_init(&session->lock, NULL);
	snprintf(session->job, sizeof(session->job), "unnamed");
	rpc_stream_accept(stream, &events, session);
	post(&(struct session_event){.kind = EVENT_ARRIVED, .session = session});
}
