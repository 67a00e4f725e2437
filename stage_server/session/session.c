// The lease's life. Requests come on gRPC's threads: data (batches, parameters) goes straight to the executor, which
// copies it to where it belongs; everything else is posted to the loop, where the state is.
#include <ctype.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "stage_server/session/internal.h"

enum { LINGER_MS = 3000 }; // how long streams may take to end in good order

static const struct metric_family sessions_family = {"penstock_sessions", "Sessions open now.", METRIC_GAUGE, 1.0};
static const struct metric_family sessions_total_family = {"penstock_sessions_total", "Sessions opened.",
							   METRIC_COUNTER, 1.0};
static const struct metric_family errors_family = {"penstock_errors_total",
						   "Sessions that ended with an error, and refused requests, by kind.",
						   METRIC_COUNTER, 1.0};

// ---- Events from other threads

enum session_event_kind {
	EVENT_ARRIVED,
	EVENT_REQUEST,
	EVENT_BROKEN, // a request that is none, or data that was refused
	EVENT_HALF_CLOSED,
	EVENT_STREAM_OVER,
	EVENT_OPENED,
	EVENT_FAILED,
	EVENT_FINISHED,
	EVENT_LINK_READY,
	EVENT_LINK_LOST,
	EVENT_LINK_OVER,
};

struct session_event {
	struct event event;
	enum session_event_kind kind;
	struct session *session;
	Penstock__V1__SessionRequest *request; // owned
	struct error error;
	uint64_t number; // parameters, or the step
	bool flag;       // failed: lost a neighbour; finished: in good order; link lost: with an error
	enum neighbour neighbour;
};

static void handle_event(struct event *event);

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
	copy->event.handler = handle_event;
	event_queue_post(event->session->host->options.queue, &copy->event);
}

static enum neighbour side_of(struct session *session, const struct link *link)
{
	return executor_link(session->executor, NEIGHBOUR_PREVIOUS) == link ? NEIGHBOUR_PREVIOUS : NEIGHBOUR_NEXT;
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

static const struct link_events link_events = {.ready = on_link_ready, .lost = on_link_lost, .over = on_link_over};

static bool on_reserve(void *user, const struct memory_use *use, uint64_t exchange_bytes, struct error *error)
{
	struct session *session = user;
	uint64_t bytes = memory_use_total(use) + exchange_bytes;
	if (!ledger_reserve(session->host->options.ledger, bytes, error))
		return false;
	session->memory = *use;
	atomic_store(&session->exchange_bytes, exchange_bytes);
	atomic_store(&session->reserved_bytes, bytes);
	return true;
}

static void on_opened(void *user, uint64_t parameters)
{
	post(&(struct session_event){.kind = EVENT_OPENED, .session = user, .number = parameters});
}

static void on_failed(void *user, const struct error *error, uint64_t step, bool lost, enum neighbour neighbour)
{
	post(&(struct session_event){.kind = EVENT_FAILED,
				     .session = user,
				     .error = *error,
				     .number = step,
				     .flag = lost,
				     .neighbour = neighbour});
}

static void on_finished(void *user, bool in_good_order)
{
	post(&(struct session_event){.kind = EVENT_FINISHED, .session = user, .flag = in_good_order});
}

static void on_loaded(void *user, const struct parameter *parameter)
{
	reply_loaded(user, parameter);
}

static void on_step_done(void *user, const struct step_report *report)
{
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

static const struct executor_events executor_events = {
	.reserve = on_reserve,
	.opened = on_opened,
	.loaded = on_loaded,
	.step_done = on_step_done,
	.gradient_norms = on_norms,
	.saved_parameter = on_saved_parameter,
	.saved = on_saved,
	.failed = on_failed,
	.finished = on_finished,
};

// ---- The stream, on gRPC's threads

// Data goes to the executor at once; true when the request was such.
static bool handle_data(struct session *session, const Penstock__V1__SessionRequest *request,
			const struct rpc_incoming *incoming, struct error *ret_error)
{
	bool batch = request->body_case == PENSTOCK__V1__SESSION_REQUEST__BODY_BATCH;
	if (!batch && request->body_case != PENSTOCK__V1__SESSION_REQUEST__BODY_LOAD_PARAMETER)
		return false;
	pthread_mutex_lock(&session->lock);
	struct executor *executor = session->data_executor; // lives until this stream is over
	pthread_mutex_unlock(&session->lock);
	if (executor == NULL)
		error_set(ret_error, ERROR_PROTOCOL, "data came to a session that takes none now");
	else if (batch)
		executor_put_batch(executor, request->batch, incoming, ret_error);
	else
		executor_load(executor, request->load_parameter, incoming, ret_error);
	return true;
}

static void on_message(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct session *session = user;
	struct error error = {.code = ERROR_NONE};
	atomic_store(&session->heard_ns, clock_now_ns());
	Penstock__V1__SessionRequest *request = (Penstock__V1__SessionRequest *)rpc_incoming_unpack(
		incoming, &penstock__v1__session_request__descriptor, &error);
	if (request != NULL && request->body_case != PENSTOCK__V1__SESSION_REQUEST__BODY_HEARTBEAT &&
	    !handle_data(session, request, incoming, &error)) {
		post(&(struct session_event){.kind = EVENT_REQUEST, .session = session, .request = request});
		return;
	}
	if (request != NULL)
		penstock__v1__session_request__free_unpacked(request, NULL);
	if (error.code != ERROR_NONE)
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
	session->heard_ns = session->heartbeat_ns = clock_now_ns();
	pthread_mutex_init(&session->lock, NULL);
	snprintf(session->job, sizeof(session->job), "unnamed");
	rpc_stream_accept(stream, &events, session);
	post(&(struct session_event){.kind = EVENT_ARRIVED, .session = session});
}

// ---- On the loop

void session_count_error(struct session_host *host, enum error_code code)
{
	char labels[64];
	snprintf(labels, sizeof(labels), "code=\"%s\"", error_code_name(code));
	metric_add(metrics_series(host->options.metrics, &errors_family, labels), 1);
}

static struct link *link_of(struct session *session, enum neighbour side)
{
	return session->opened ? executor_link(session->executor, side) : NULL;
}

static void close_links(struct session *session, bool in_good_order)
{
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (link_of(session, side) != NULL)
			link_close(link_of(session, side), in_good_order);
}

static void free_if_over(struct session *session)
{
	if (session->state != SESSION_ENDED || !session->stream_over ||
	    (session->executor != NULL && !session->executor_over))
		return;
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (link_of(session, side) != NULL && !session->link_over[side])
			return;
	struct session_host *host = session->host;
	struct session **place = &host->sessions;
	while (*place != session)
		place = &(*place)->next;
	*place = session->next;
	metric_set(host->sessions_gauge, --host->count);
	executor_destroy(session->executor);
	ledger_release(host->options.ledger, atomic_load(&session->reserved_bytes));
	if (session->has_plan)
		stage_plan_fini(&session->plan);
	rpc_stream_unref(session->stream);
	pthread_mutex_destroy(&session->lock);
	free(session);
	malloc_trim(0); // a job's buffers are large, and the next job may be another daemon's
}

void session_end(struct session *session, const struct error *error, bool lost, enum neighbour neighbour)
{
	if (session->state == SESSION_ENDED)
		return;
	bool in_good_order = error == NULL;
	session->state = SESSION_ENDED;
	session->ended_ns = clock_now_ns();
	pthread_mutex_lock(&session->lock);
	session->data_executor = NULL;
	pthread_mutex_unlock(&session->lock);
	if (in_good_order) {
		log_info("job %s, stage %u: closed", session->job, session->plan.pipeline_stage);
		reply_closed(session);
		rpc_stream_finish(session->stream, RPC_OK, NULL);
	} else {
		uint64_t step = session->executor != NULL ? executor_step(session->executor) : 0;
		uint32_t peer = session->plan.pipeline_stage + (neighbour == NEIGHBOUR_NEXT ? 1 : -1u);
		if (error->code == ERROR_CANCELLED)
			log_info("job %s, stage %u: ended: %s", session->job, session->plan.pipeline_stage,
				 error->message);
		else
			log_warning("job %s, stage %u: ended: %s", session->job, session->plan.pipeline_stage,
				    error->message);
		session_count_error(session->host, error->code);
		reply_failed(session, error, step, lost, lost ? peer : 0);
		rpc_stream_finish(session->stream, rpc_status_from_error(error), error->message);
	}
	if (session->executor != NULL)
		executor_stop(session->executor);
	close_links(session, in_good_order);
}

static void end_with(struct session *session, struct error *error)
{
	session_end(session, error, false, NEIGHBOUR_PREVIOUS);
}

struct session *session_find_token(struct session_host *host, const uint8_t *token)
{
	for (struct session *session = host->sessions; session != NULL; session = session->next) {
		uint8_t difference = 0; // as long for a near miss as for a wild guess
		for (int i = 0; i < PROTOCOL_TOKEN_BYTES; i++)
			difference |= session->token[i] ^ token[i];
		if (session->has_token && session->opened && session->state != SESSION_ENDED && difference == 0)
			return session;
	}
	return NULL;
}

static void copy_job_name(struct session *session, const char *name)
{
	size_t length = 0;
	for (; name[length] != '\0' && length + 1 < sizeof(session->job); length++)
		session->job[length] = isgraph((unsigned char)name[length]) ? name[length] : '_';
	if (length > 0)
		session->job[length] = '\0';
}

static bool read_open(struct session *session, const Penstock__V1__Open *open, struct error *error)
{
	if (open->protocol_version != PROTOCOL_VERSION)
		return error_set(
			error, ERROR_VERSION,
			"the coordinator speaks protocol version %u, this daemon (penstockd %s) version %d: install "
			"the same release on both",
			open->protocol_version, PENSTOCK_VERSION, PROTOCOL_VERSION);
	copy_job_name(session, open->job);
	if (open->plan == NULL)
		return error_set(error, ERROR_PROTOCOL, "Open has no plan");
	if (!stage_plan_read(open->plan, &session->plan, error))
		return false;
	session->has_plan = true;
	size_t token_bytes = stage_plan_is_first(&session->plan) ? 0 : PROTOCOL_TOKEN_BYTES;
	if (open->link_token.len != token_bytes)
		return error_set(error, ERROR_PROTOCOL, "the link token has %zu bytes, expected %zu",
				 open->link_token.len, token_bytes);
	if (open->connections < 1 || open->connections > PROTOCOL_MAXIMUM_CONNECTIONS)
		return error_set(error, ERROR_USAGE, "connections is %u, must be from 1 to %d", open->connections,
				 PROTOCOL_MAXIMUM_CONNECTIONS);
	if (open->chunk_bytes < PROTOCOL_MINIMUM_CHUNK_BYTES || open->chunk_bytes > PROTOCOL_MAXIMUM_CHUNK_BYTES)
		return error_set(error, ERROR_USAGE, "chunk_bytes is %u, must be from %d to %d", open->chunk_bytes,
				 PROTOCOL_MINIMUM_CHUNK_BYTES, PROTOCOL_MAXIMUM_CHUNK_BYTES);
	const char *device = open->plan->device;
	const char *ours = session->host->options.ops->name;
	if (device[0] != '\0' && strcmp(device, ours) != 0)
		return error_set(error, ERROR_USAGE, "there is no device \"%.64s\" here; this daemon has %s", device,
				 ours);
	memcpy(session->token, open->link_token.data, token_bytes);
	session->has_token = token_bytes > 0;
	return true;
}

static void handle_open(struct session *session, const Penstock__V1__Open *open)
{
	struct error error;
	if (!read_open(session, open, &error)) {
		end_with(session, &error);
		return;
	}
	struct executor_options options = {
		.plan = &session->plan,
		.ops = session->host->options.ops,
		.device = session->host->options.device,
		.connections = open->connections,
		.chunk_bytes = open->chunk_bytes,
		.metrics = session->host->options.metrics,
		.events = &executor_events,
		.link_events = &link_events,
		.user = session,
	};
	log_info("job %s, stage %u of %u: %s layers %u to %u, %u micro-batches of %u", session->job,
		 session->plan.pipeline_stage, session->plan.pipeline_size, session->plan.model.name,
		 session->plan.first_layer, session->plan.end_layer - 1, session->plan.micro_batches,
		 session->plan.micro_batch_size);
	session->state = SESSION_OPENING;
	if (!executor_create(&options, &session->executor, &error))
		end_with(session, &error);
}

static void become_ready(struct session *session)
{
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (link_of(session, side) != NULL && !session->link_ready[side])
			return;
	if (session->state != SESSION_LINKING)
		return;
	session->state = SESSION_READY;
	reply_ready(session);
}

static void handle_connect(struct session *session, const Penstock__V1__Connect *connect)
{
	struct error error;
	struct link *next = link_of(session, NEIGHBOUR_NEXT);
	if (next != NULL) {
		bool ok = connect->next_link_token.len == PROTOCOL_TOKEN_BYTES ||
			  error_set(&error, ERROR_PROTOCOL, "the next stage's link token has %zu bytes, expected %d",
				    connect->next_link_token.len, PROTOCOL_TOKEN_BYTES);
		ok = ok && (strlen(connect->next_address) < sizeof(session->next_address) ||
			    error_set(&error, ERROR_USAGE, "the next stage's address is too long"));
		ok = ok && link_dial(next, connect->next_address, connect->next_link_token.data, &error);
		if (!ok) {
			end_with(session, &error);
			return;
		}
		strcpy(session->next_address, connect->next_address);
	}
	session->state = SESSION_LINKING;
	become_ready(session);
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
		return executor_set_gradient_scale(session->executor, request->gradient_scale->step,
						   request->gradient_scale->scale, error);
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
			handle_open(session, request->open);
			return;
		}
		break;
	case PENSTOCK__V1__SESSION_REQUEST__BODY_CONNECT:
		if (session->state == SESSION_OPENED) {
			handle_connect(session, request->connect);
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
				end_with(session, &error);
			return;
		}
		break;
	}
	error_set(&error, ERROR_PROTOCOL, "request %d has no place in the session's state %d", (int)request->body_case,
		  (int)session->state);
	end_with(session, &error);
}

static void handle_arrived(struct session *session)
{
	struct session_host *host = session->host;
	struct error error;
	session->next = host->sessions;
	host->sessions = session;
	metric_set(host->sessions_gauge, ++host->count);
	metric_add(host->sessions_total, 1);
	if (host->draining) {
		error_set(&error, ERROR_LIMIT, "this daemon is stopping");
		end_with(session, &error);
	} else if (host->count > host->options.maximum_sessions) {
		error_set(&error, ERROR_LIMIT, "this daemon serves %u sessions already, its limit (--max-sessions)",
			  host->options.maximum_sessions);
		end_with(session, &error);
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
	reply_opened(session, parameters);
}

static void handle_link_lost(struct session *session, struct session_event *event)
{
	const char *name = event->neighbour == NEIGHBOUR_PREVIOUS ? "previous" : "next";
	// One that left in good order matters only when its tensors are waited for; the executor says so then.
	if (!event->flag || session->state == SESSION_CLOSING)
		return;
	if (event->neighbour == NEIGHBOUR_NEXT && session->next_address[0] != '\0')
		error_wrap(&event->error, "link to the next stage at %s", session->next_address);
	else
		error_wrap(&event->error, "link to the %s stage", name);
	session_end(session, &event->error, event->error.code == ERROR_UNREACHABLE, event->neighbour);
}

static void handle_finished(struct session *session, bool in_good_order)
{
	struct error error;
	session->executor_over = true;
	error_set(&error, ERROR_FAILED, "the executor ended");
	if (session->state != SESSION_ENDED)
		session_end(session, in_good_order ? NULL : &error, false, NEIGHBOUR_PREVIOUS);
}

static void handle_event(struct event *base)
{
	struct session_event *event = (struct session_event *)base;
	struct session *session = event->session;
	struct error error;
	switch (event->kind) {
	case EVENT_ARRIVED:
		handle_arrived(session);
		break;
	case EVENT_REQUEST:
		if (session->state != SESSION_ENDED)
			handle_request(session, event->request);
		penstock__v1__session_request__free_unpacked(event->request, NULL);
		break;
	case EVENT_BROKEN:
		end_with(session, &event->error);
		break;
	case EVENT_HALF_CLOSED:
	case EVENT_STREAM_OVER:
		session->stream_over |= event->kind == EVENT_STREAM_OVER;
		error_set(&error, ERROR_CANCELLED, "the coordinator went away");
		end_with(session, &error);
		break;
	case EVENT_OPENED:
		handle_opened(session, event->number);
		break;
	case EVENT_FAILED:
		session_end(session, &event->error, event->flag, event->neighbour);
		break;
	case EVENT_FINISHED:
		handle_finished(session, event->flag);
		break;
	case EVENT_LINK_READY:
		session->link_ready[event->neighbour] = true;
		become_ready(session);
		break;
	case EVENT_LINK_LOST:
		handle_link_lost(session, event);
		break;
	case EVENT_LINK_OVER:
		session->link_over[event->neighbour] = true;
		break;
	}
	free(event);
	free_if_over(session); // here and nowhere else: whatever ends a session is followed by an event
}

// ---- The host

struct session_host *session_host_create(const struct session_host_options *options)
{
	struct session_host *host = calloc(1, sizeof(*host));
	if (host == NULL)
		return NULL;
	host->options = *options;
	host->sessions_gauge = metrics_series(options->metrics, &sessions_family, "");
	host->sessions_total = metrics_series(options->metrics, &sessions_total_family, "");
	return host;
}

void session_host_destroy(struct session_host *host)
{
	free(host);
}

static void tick(struct session *session, uint64_t now_ns)
{
	struct error error;
	if (session->state == SESSION_ENDED) {
		if (now_ns - session->ended_ns > LINGER_MS * UINT64_C(1000000)) {
			rpc_stream_cancel(session->stream);
			close_links(session, false);
		}
		return;
	}
	uint64_t silent_ms = (now_ns - atomic_load(&session->heard_ns)) / 1000000;
	if (now_ns > atomic_load(&session->heard_ns) && silent_ms > PROTOCOL_TIMEOUT_MS) {
		error_set(&error, ERROR_UNREACHABLE, "the coordinator has been silent for %" PRIu64 " ms", silent_ms);
		end_with(session, &error);
		return;
	}
	if (now_ns - session->heartbeat_ns >= PROTOCOL_HEARTBEAT_MS * UINT64_C(1000000)) {
		session->heartbeat_ns = now_ns;
		reply_heartbeat(session);
	}
}

void session_host_tick(struct session_host *host)
{
	uint64_t now_ns = clock_now_ns();
	struct session *next;
	for (struct session *session = host->sessions; session != NULL; session = next) {
		next = session->next; // a tick may free it
		tick(session, now_ns);
	}
	inbound_tick(host, now_ns);
}

void session_host_drain(struct session_host *host)
{
	struct error error;
	struct session *next;
	host->draining = true;
	error_set(&error, ERROR_UNREACHABLE, "this daemon is stopping");
	for (struct session *session = host->sessions; session != NULL; session = next) {
		next = session->next;
		end_with(session, &error);
	}
}

bool session_host_is_empty(const struct session_host *host)
{
	return host->sessions == NULL && host->inbound == NULL;
}

void session_host_list(struct session_host *host, void (*visit)(const struct session_summary *summary, void *user),
		       void *user)
{
	for (struct session *session = host->sessions; session != NULL; session = session->next)
		if (session->has_plan && session->state != SESSION_ENDED)
			visit(
				&(struct session_summary){
					.job = session->job,
					.model = session->plan.model.name,
					.pipeline_stage = session->plan.pipeline_stage,
					.step = session->executor != NULL ? executor_step(session->executor) : 0,
					.memory_bytes = atomic_load(&session->reserved_bytes),
				},
				user);
}
