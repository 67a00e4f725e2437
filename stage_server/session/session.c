// The lease's life: a state machine on the loop's thread, fed by events (events.c) and the beat (session_tick).
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "stage_server/session/internal.h"

enum {
	LINGER_MS = 3000, // how long streams may take to end in good order
	EARLY_MS =
		500, // a heartbeat may be: half a tick, so that one whose tick comes a little early does not wait for the next
};

struct log_fields session_fields(const struct session *session)
{
	const struct stage_plan *plan = session->has_plan ? &session->plan : NULL;
	return (struct log_fields){.job = session->job,
				   .stage = plan != NULL ? (int64_t)plan->pipeline_stage : -1,
				   .replica = plan != NULL ? (int64_t)plan->replica : -1,
				   .step = session->executor != NULL ? (int64_t)executor_step(session->executor) : -1};
}

struct link *session_link(struct session *session, enum neighbour side)
{
	return session->opened ? executor_link(session->executor, side) : NULL;
}

static void close_links(struct session *session, bool in_good_order)
{
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (session_link(session, side) != NULL)
			link_close(session_link(session, side), in_good_order);
}

static void free_if_over(struct session *session)
{
	if (session->state != SESSION_ENDED || !session->stream_over ||
	    (session->executor != NULL && !session->executor_over))
		return;
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (session_link(session, side) != NULL && !session->link_over[side])
			return;
	struct session_host *host = session->host;
	host_remove(host, session);
	executor_destroy(session->executor);
	if (session->slot != NULL)
		ledger_release(session->slot->ledger, atomic_load(&session->reserved_bytes));
	if (session->has_plan)
		stage_plan_fini(&session->plan);
	rpc_stream_unref(session->stream);
	pthread_mutex_destroy(&session->lock);
	free(session);
}

void session_end(struct session *session, const struct error *error, bool lost, enum neighbour neighbour)
{
	if (session->state == SESSION_ENDED)
		return;
	bool in_good_order = error == NULL, was_opened = session->state >= SESSION_OPENED;
	struct log_fields fields = session_fields(session);
	session->state = SESSION_ENDED;
	session->ended_ns = clock_now_ns();
	pthread_mutex_lock(&session->lock);
	session->data_executor = NULL;
	pthread_mutex_unlock(&session->lock);
	if (in_good_order) {
		log_event(LOG_LEVEL_INFO, &fields, "closed");
		reply_closed(session);
		rpc_stream_finish(session->stream, RPC_OK, NULL);
	} else {
		struct error shown = *error; // may quote the coordinator, which may have sent anything
		strings_make_printable(shown.message);
		uint64_t step = session->executor != NULL ? executor_step(session->executor) : 0;
		enum log_level level = error->code == ERROR_CANCELLED ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
		if (was_opened)
			log_event(level, &fields, "ended: %s", shown.message);
		else
			host_log_refusal(session->host, level, &fields, "ended: %s", shown.message);
		host_count_error(session->host, error->code);
		reply_failed(session, &shown, step, lost, neighbour);
		rpc_stream_finish(session->stream, rpc_status_from_error(error), shown.message);
	}
	if (session->executor != NULL)
		executor_stop(session->executor);
	// After its last step, what it has sent may still be on its way, and its neighbours end that step with it.
	close_links(session, in_good_order || session->drained_steps > 0);
}

void session_end_with(struct session *session, const struct error *error)
{
	session_end(session, error, false, NEIGHBOUR_PREVIOUS);
}

// ---- Requests

#define REQUEST(KIND) (1u << REQUEST_##KIND)
static const struct {
	const char *name;
	uint32_t takes; // of requests that come to the loop
} states[] = {
	[SESSION_ARRIVED] = {"waits for Open", REQUEST(OPEN)},
	[SESSION_OPENING] = {"is being opened", REQUEST(KERNEL_ANSWERS) | REQUEST(TIME_KERNELS)},
	[SESSION_OPENED] = {"waits for Connect", REQUEST(CONNECT) | REQUEST(CLOSE)},
	[SESSION_LINKING] = {"waits for its links", REQUEST(CLOSE)},
	[SESSION_READY] = {"is ready", REQUEST(RUN_STEP) | REQUEST(GRADIENT_SCALE) | REQUEST(SAVE) | REQUEST(CLOSE)},
	[SESSION_CLOSING] = {"is being closed", 0},
	[SESSION_ENDED] = {"has ended", 0},
};

static bool is_taken(const struct session *session, const struct wire_request *request, struct error *error)
{
	const char *name = wire_request_name(request->kind);
	if (name == NULL)
		return error_set(error, ERROR_PROTOCOL, "this daemon, penstockd %s, got an unknown request",
				 PENSTOCK_VERSION);
	return (states[session->state].takes & 1u << request->kind) != 0 ||
	       error_set(error, ERROR_PROTOCOL, "%s came to a session that %s", name, states[session->state].name);
}

// Of a state that takes it.
static bool obey(struct session *session, const struct wire_request *request, struct error *error)
{
	switch (request->kind) {
	case REQUEST_OPEN:
		return session_open(session, &request->open, error);
	case REQUEST_KERNEL_ANSWERS:
		return executor_put_answers(session->executor, &request->kernel_answers, error);
	case REQUEST_TIME_KERNELS:
		return executor_time_kernels(session->executor, &request->time_kernels, error);
	case REQUEST_CONNECT:
		return session_connect(session, &request->connect, error);
	case REQUEST_RUN_STEP:
		return executor_run_step(session->executor, &request->run_step, error);
	case REQUEST_GRADIENT_SCALE:
		return executor_set_gradient_scale(session->executor, &request->gradient_scale, error);
	case REQUEST_SAVE:
		return executor_save(session->executor, error);
	case REQUEST_CLOSE:
		session->state = SESSION_CLOSING;
		return executor_close(session->executor, error);
	default: // data and heartbeats do not come to the loop
		return true;
	}
}

static void handle_request(struct session *session, const struct wire_request *request)
{
	struct error error;
	if (session->state == SESSION_ENDED)
		return;
	if (!is_taken(session, request, &error) || !obey(session, request, &error))
		session_end_with(session, &error);
}

// ---- Events

static void handle_arrived(struct session *session)
{
	struct session_host *host = session->host;
	struct error error;
	host_add(host, session);
	if (host->draining) {
		error_set(&error, ERROR_UNREACHABLE, "this daemon is stopping");
		session_end_with(session, &error);
	} else if (host->count > host->options.maximum_sessions) {
		error_set(&error, ERROR_LIMIT, "no session is free on this daemon: the limit is %u (--max-sessions)",
			  host->options.maximum_sessions);
		limits_hit(host->options.limits, LIMIT_SESSIONS, "%s was refused: %s", rpc_stream_peer(session->stream),
			   error.message);
		session_end_with(session, &error);
	} else {
		reply_heartbeat(
			session); // at once: this daemon may have been stopped while the coordinator waited for it
	}
}

static void handle_opened(struct session *session, uint64_t parameters)
{
	session->opened = true;
	if (session->state == SESSION_ENDED) { // while it was being opened
		close_links(session, false);
		return;
	}
	session->state = SESSION_OPENED;
	pthread_mutex_lock(&session->lock);
	session->data_executor = session->executor;
	pthread_mutex_unlock(&session->lock);
	reply_opened(session, parameters, executor_group_id(session->executor));
}

bool session_can_drain(const struct session *session)
{
	return session->state == SESSION_READY || session->state == SESSION_CLOSING;
}

static void handle_drained(struct session *session, uint64_t steps)
{
	struct error error;
	if (session->state == SESSION_ENDED)
		return;
	session->drained_steps = steps;
	error_set(&error, ERROR_UNREACHABLE, "this daemon is stopping");
	session_end_with(session, &error);
}

static void handle_finished(struct session *session, bool in_good_order)
{
	struct error error;
	session->executor_over = true;
	error_set(&error, ERROR_FAILED, "the executor ended");
	if (session->state != SESSION_ENDED)
		session_end_with(session, in_good_order ? NULL : &error);
}

static void handle_gone(struct session *session)
{
	struct error error;
	error_set(&error, ERROR_CANCELLED, "the coordinator closed its connection");
	session_end_with(session, &error);
}

void session_handle_event(struct event *base)
{
	struct session_event *event = (struct session_event *)base;
	struct session *session = event->session;
	switch (event->kind) {
	case EVENT_ARRIVED:
		handle_arrived(session);
		break;
	case EVENT_REQUEST:
		handle_request(session, event->request);
		wire_request_free(event->request);
		rpc_stream_resume(session->stream);
		break;
	case EVENT_BROKEN:
		session_end_with(session, &event->error);
		rpc_stream_resume(session->stream);
		break;
	case EVENT_HALF_CLOSED:
	case EVENT_STREAM_OVER:
		session->stream_over |= event->kind == EVENT_STREAM_OVER;
		handle_gone(session);
		break;
	case EVENT_OPENED:
		handle_opened(session, event->number);
		break;
	case EVENT_JOINED:
		session->joined = true;
		session_become_ready(session);
		break;
	case EVENT_FAILED:
		session_end(session, &event->error, event->flag, event->neighbour);
		break;
	case EVENT_DRAINED:
		handle_drained(session, event->number);
		break;
	case EVENT_FINISHED:
		handle_finished(session, event->flag);
		break;
	case EVENT_LINK_READY:
		session_handle_link_ready(session, event->neighbour);
		break;
	case EVENT_LINK_LOST:
		session_handle_link_lost(session, event);
		break;
	case EVENT_LINK_OVER:
		session->link_over[event->neighbour] = true;
		break;
	}
	free(event);
	free_if_over(session); // here and nowhere else: whatever ends a session is followed by an event
}

void session_tick(struct session *session, const struct lateness *lateness, uint64_t now_ns)
{
	struct error error;
	if (session->state == SESSION_ENDED) {
		if (now_ns - session->ended_ns > LINGER_MS * UINT64_C(1000000)) {
			rpc_stream_cancel(session->stream);
			close_links(session, false);
		}
		return;
	}
	if (session->state == SESSION_ARRIVED &&
	    lateness_silence_ms(lateness, session->arrived_ns, now_ns) > PROTOCOL_TIMEOUT_MS) {
		error_set(&error, ERROR_PROTOCOL, "no Open message came within %d ms", PROTOCOL_TIMEOUT_MS);
		session_end_with(session, &error);
		return;
	}
	uint64_t silent_ms = lateness_silence_ms(lateness, atomic_load(&session->heard_ns), now_ns);
	if (silent_ms > PROTOCOL_TIMEOUT_MS) {
		error_set(&error, ERROR_UNREACHABLE, "no message came from the coordinator for %" PRIu64 " ms",
			  silent_ms);
		session_end_with(session, &error);
		return;
	}
	if (now_ns - session->heartbeat_ns >= (PROTOCOL_HEARTBEAT_MS - EARLY_MS) * UINT64_C(1000000)) {
		session->heartbeat_ns = now_ns;
		reply_heartbeat(session);
	}
}
