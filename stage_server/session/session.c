// The lease's life: a state machine on the loop's thread, fed by events (events.c) and the beat (session_tick).
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "stage_server/session/internal.h"

enum { LINGER_MS = 3000 }; // how long streams may take to end in good order

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

static void log_end(struct session *session, const struct log_fields *fields, enum log_level level, const char *message,
		    bool was_opened)
{
	uint64_t unlogged = 0;
	if (!was_opened && !host_may_log_refusal(session->host, &unlogged))
		return;
	if (unlogged > 0)
		log_event(level, fields,
			  "ended: %s (and %" PRIu64 " more that were not opened, since the last such line)", message,
			  unlogged);
	else
		log_event(level, fields, "ended: %s", message);
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
		log_end(session, &fields, level, shown.message, was_opened);
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

static bool give_order(struct session *session, const Penstock__V1__SessionRequest *request, struct error *error)
{
	switch (request->body_case) {
	case PENSTOCK__V1__SESSION_REQUEST__BODY_RUN_STEP:
		return executor_run_step(session->executor,
					 &(struct step_order){.step = request->run_step->step,
							      .learning_rate = request->run_step->learning_rate,
							      .beta1 = request->run_step->beta1,
							      .beta2 = request->run_step->beta2,
							      .first_sample = request->run_step->first_sample},
					 error);
	case PENSTOCK__V1__SESSION_REQUEST__BODY_GRADIENT_SCALE:
		return executor_set_gradient_scale(
			session->executor, request->gradient_scale->step,
			&(struct gradient_answer){.scale = request->gradient_scale->scale,
						  .skip = request->gradient_scale->skip,
						  .next_loss_scale = request->gradient_scale->next_loss_scale,
						  .learning_rate = request->gradient_scale->learning_rate},
			error);
	case PENSTOCK__V1__SESSION_REQUEST__BODY_SAVE:
		return executor_save(session->executor, error);
	default:
		return error_set(error, ERROR_PROTOCOL, "a request that this session does not take");
	}
}

static void handle_request(struct session *session, const Penstock__V1__SessionRequest *request)
{
	struct error error;
	switch (request->body_case) {
	case PENSTOCK__V1__SESSION_REQUEST__BODY_OPEN:
		if (session->state == SESSION_ARRIVED) {
			session_handle_open(session, request->open);
			return;
		}
		break;
	case PENSTOCK__V1__SESSION_REQUEST__BODY_CONNECT:
		if (session->state == SESSION_OPENED) {
			session_handle_connect(session, request->connect);
			return;
		}
		break;
	case PENSTOCK__V1__SESSION_REQUEST__BODY_CLOSE:
		if (session->state == SESSION_OPENED || session->state == SESSION_LINKING ||
		    session->state == SESSION_READY) {
			session->state = SESSION_CLOSING;
			executor_close(session->executor);
			return;
		}
		break;
	default:
		if (session->state == SESSION_READY) {
			if (!give_order(session, request, &error))
				session_end_with(session, &error);
			return;
		}
		break;
	}
	error_set(&error, ERROR_PROTOCOL, "request %d has no place in the session's state %d", (int)request->body_case,
		  (int)session->state);
	session_end_with(session, &error);
}

static void handle_arrived(struct session *session)
{
	struct session_host *host = session->host;
	struct error error;
	host_add(host, session);
	if (host->draining) {
		error_set(&error, ERROR_UNREACHABLE, "this daemon is stopping");
		session_end_with(session, &error);
	} else if (host->count > host->options.maximum_sessions) {
		error_set(&error, ERROR_LIMIT, "this daemon serves %u sessions already, its limit (--max-sessions)",
			  host->options.maximum_sessions);
		limits_hit(host->options.limits, LIMIT_SESSIONS, "%s was refused: %s", rpc_stream_peer(session->stream),
			   error.message);
		session_end_with(session, &error);
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
		session_end(session, in_good_order ? NULL : &error, false, NEIGHBOUR_PREVIOUS);
}

void session_handle_event(struct event *base)
{
	struct session_event *event = (struct session_event *)base;
	struct session *session = event->session;
	struct log_fields fields;
	struct error error;
	switch (event->kind) {
	case EVENT_ARRIVED:
		handle_arrived(session);
		break;
	case EVENT_REQUEST:
		if (session->state != SESSION_ENDED)
			handle_request(session, event->request);
		penstock__v1__session_request__free_unpacked(event->request, NULL);
		rpc_stream_resume(session->stream);
		break;
	case EVENT_BROKEN:
		session_end_with(session, &event->error);
		rpc_stream_resume(session->stream);
		break;
	case EVENT_HALF_CLOSED:
	case EVENT_STREAM_OVER:
		session->stream_over |= event->kind == EVENT_STREAM_OVER;
		error_set(&error, ERROR_CANCELLED, "the coordinator went away");
		session_end_with(session, &error);
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
		fields = session_fields(session);
		log_event(LOG_LEVEL_DEBUG, &fields, "the link to the %s stands", neighbour_name(event->neighbour));
		session->link_ready[event->neighbour] = true;
		session_become_ready(session);
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

void session_tick(struct session *session, uint64_t now_ns)
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
	    now_ns - session->arrived_ns > PROTOCOL_TIMEOUT_MS * UINT64_C(1000000)) {
		error_set(&error, ERROR_PROTOCOL, "no Open came within %d ms", PROTOCOL_TIMEOUT_MS);
		session_end_with(session, &error);
		return;
	}
	uint64_t silent_ms = (now_ns - atomic_load(&session->heard_ns)) / 1000000;
	if (now_ns > atomic_load(&session->heard_ns) && silent_ms > PROTOCOL_TIMEOUT_MS) {
		error_set(&error, ERROR_UNREACHABLE, "the coordinator has been silent for %" PRIu64 " ms", silent_ms);
		session_end_with(session, &error);
		return;
	}
	if (now_ns - session->heartbeat_ns >= PROTOCOL_HEARTBEAT_MS * UINT64_C(1000000)) {
		session->heartbeat_ns = now_ns;
		reply_heartbeat(session);
	}
}
