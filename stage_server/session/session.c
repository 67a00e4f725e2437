// The lease's life: a state machine on the loop's thread, fed by events (events.c) and the beat (session_tick).
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/address.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "stage_server/session/internal.h"

_Static_assert((int)PROTOCOL_GROUP_ID_BYTES == (int)DEVICE_GROUP_ID_BYTES,
	       "an id of a group crosses the wire as it is");

enum { LINGER_MS = 3000 }; // how long streams may take to end in good order

struct log_fields session_fields(const struct session *session)
{
	const struct stage_plan *plan = session->has_plan ? &session->plan : NULL;
	return (struct log_fields){.job = session->job,
				   .stage = plan != NULL ? (int64_t)plan->pipeline_stage : -1,
				   .replica = plan != NULL ? (int64_t)plan->replica : -1,
				   .step = session->executor != NULL ? (int64_t)executor_step(session->executor) : -1};
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

static void end_with(struct session *session, struct error *error)
{
	session_end(session, error, false, NEIGHBOUR_PREVIOUS);
}

static void copy_job_name(struct session *session, const char *name)
{
	size_t length = 0;
	for (; name[length] != '\0' && length + 1 < sizeof(session->job); length++)
		session->job[length] = isgraph((unsigned char)name[length]) ? name[length] : '_';
	if (length > 0)
		session->job[length] = '\0';
}

static bool take_token(struct session *session, enum neighbour side, size_t expected_bytes,
		       const ProtobufCBinaryData *token, struct error *error)
{
	if (token->len != expected_bytes)
		return error_set(error, ERROR_PROTOCOL, "the %s's link token has %zu bytes, expected %zu",
				 neighbour_name(side), token->len, expected_bytes);
	session->has_token[side] = session->plan.boundary[side].exists;
	if (session->has_token[side])
		memcpy(session->token[side], token->data, expected_bytes);
	return true;
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
	if (!take_token(session, NEIGHBOUR_PREVIOUS, stage_plan_is_first(&session->plan) ? 0 : PROTOCOL_TOKEN_BYTES,
			&open->link_token, error) ||
	    !take_token(session, NEIGHBOUR_PREVIOUS_REPLICA,
			session->plan.data_parallel_size == 1 ? 0 : PROTOCOL_TOKEN_BYTES, &open->replica_token, error))
		return false;
	if (open->connections < 1 || open->connections > PROTOCOL_MAXIMUM_CONNECTIONS)
		return error_set(error, ERROR_USAGE, "connections is %u, must be from 1 to %d", open->connections,
				 PROTOCOL_MAXIMUM_CONNECTIONS);
	if (open->chunk_bytes < PROTOCOL_MINIMUM_CHUNK_BYTES || open->chunk_bytes > PROTOCOL_MAXIMUM_CHUNK_BYTES)
		return error_set(error, ERROR_USAGE, "chunk_bytes is %u, must be from %d to %d", open->chunk_bytes,
				 PROTOCOL_MINIMUM_CHUNK_BYTES, PROTOCOL_MAXIMUM_CHUNK_BYTES);
	uint64_t message_bytes = (uint64_t)open->chunk_bytes + RPC_MAXIMUM_HEADER_BYTES;
	if (message_bytes > session->host->options.maximum_message_bytes)
		return error_set(error, ERROR_LIMIT,
				 "chunk_bytes is %u, which with its header is a message of up to %" PRIu64
				 " bytes; this daemon takes %" PRIu64 " (--max-message-size)",
				 open->chunk_bytes, message_bytes, session->host->options.maximum_message_bytes);
	const struct devices *devices = session->host->options.devices;
	if (open->plan->device_index >= devices_count(devices))
		return error_set(error, ERROR_USAGE,
				 "the plan wants device slot %u, this daemon has %u, numbered from 0: lower the host's "
				 "slots= in the hostfile, or start penstockd with more --device options",
				 open->plan->device_index, devices_count(devices));
	session->slot = devices_slot(devices, open->plan->device_index);
	session->device_index = open->plan->device_index;
	return !session->plan.reduce_in_group || session->slot->group[0] != '\0' ||
	       error_set(error, ERROR_USAGE,
			 "reduce_in_group: device %s of this daemon cannot sum gradients with others: train with "
			 "--reduce ring",
			 session->slot->name);
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
		.ops = session->slot->ops,
		.device = session->slot->device,
		.memory = &session->slot->memory,
		.exchange_memory = &session->slot->exchange_memory,
		.connections = open->connections,
		.chunk_bytes = open->chunk_bytes,
		.metrics = session->host->options.metrics,
		.events = &session_executor_events,
		.link_events = &session_link_events,
		.user = session,
	};
	struct log_fields fields = session_fields(session);
	log_event(LOG_LEVEL_INFO, &fields,
		  "opened on %s: %s layers %u to %u, %u stages, %u replicas, %u micro-batches of %u",
		  session->slot->name, session->plan.model.name, session->plan.first_layer, session->plan.end_layer - 1,
		  session->plan.pipeline_size, session->plan.data_parallel_size, session->plan.micro_batches,
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
	if (session->state != SESSION_LINKING || (session->plan.reduce_in_group && !session->joined))
		return;
	session->state = SESSION_READY;
	reply_ready(session);
}

// The neighbour is another session of this daemon.
static bool join(struct session *session, enum neighbour side, const uint8_t *token, struct error *error)
{
	enum neighbour their_side = NEIGHBOUR_PREVIOUS;
	struct session *other = host_find_token(session->host, token, &their_side);
	if (other == NULL)
		return error_set(error, ERROR_PROTOCOL,
				 "the plan says that the %s is held by this daemon, which holds no stage of that token",
				 neighbour_name(side));
	if (other->slot->ops != session->slot->ops && side == NEIGHBOUR_NEXT)
		return error_set(error, ERROR_USAGE,
				 "stages %u and %u are on devices of two kinds, %s and %s, of one daemon, which cannot "
				 "hand tensors over: start a daemon for each kind",
				 session->plan.pipeline_stage, other->plan.pipeline_stage, session->slot->name,
				 other->slot->name);
	return link_join(link_of(session, side), link_of(other, their_side), error);
}

// Of what gRPC would follow, a coordinator may name a host and a port alone: no other resolver, and no socket of a machine whose daemons
// do not use them.
static bool check_address(const struct session *session, enum neighbour side, const char *address, struct error *error)
{
	if (strlen(address) >= sizeof(session->address[side]))
		return error_set(error, ERROR_USAGE, "the %s's address is too long", neighbour_name(side));
	if (!address_parse(address, ADDRESS_WHOLE, NULL, error))
		return error_wrap(error, "the %s's address", neighbour_name(side));
	return !address_is_socket(address) || session->host->options.dials_sockets ||
	       error_set(error, ERROR_USAGE,
			 "the %s's address is a socket of this machine, %.200s: this daemon listens on none",
			 neighbour_name(side), address);
}

// Begins the link to a neighbour behind this stage, where there is one.
static bool reach(struct session *session, enum neighbour side, const char *address, const ProtobufCBinaryData *token,
		  struct error *error)
{
	struct link *link = link_of(session, side);
	if (link == NULL)
		return true;
	if (token->len != PROTOCOL_TOKEN_BYTES)
		return error_set(error, ERROR_PROTOCOL, "the %s's link token has %zu bytes, expected %d",
				 neighbour_name(side), token->len, PROTOCOL_TOKEN_BYTES);
	if (session->plan.boundary[side].local)
		return join(session, side, token->data, error);
	if (!check_address(session, side, address, error) ||
	    !link_dial(link, address, session->host->options.tls, token->data, error))
		return false;
	strcpy(session->address[side], address);
	return true;
}

// Begins to join the group of the stage's replicas, where there is one.
static bool join_group(struct session *session, const ProtobufCBinaryData *id, struct error *error)
{
	if (!session->plan.reduce_in_group)
		return true;
	if (id->len != DEVICE_GROUP_ID_BYTES)
		return error_set(error, ERROR_PROTOCOL, "group_id has %zu bytes, expected %d", id->len,
				 DEVICE_GROUP_ID_BYTES);
	return executor_join(session->executor, id->data, error);
}

static void handle_connect(struct session *session, const Penstock__V1__Connect *connect)
{
	struct error error;
	if (!reach(session, NEIGHBOUR_NEXT, connect->next_address, &connect->next_link_token, &error) ||
	    !reach(session, NEIGHBOUR_NEXT_REPLICA, connect->next_replica_address, &connect->next_replica_token,
		   &error) ||
	    !join_group(session, &connect->group_id, &error)) {
		end_with(session, &error);
		return;
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
	host_add(host, session);
	if (host->draining) {
		error_set(&error, ERROR_UNREACHABLE, "this daemon is stopping");
		end_with(session, &error);
	} else if (host->count > host->options.maximum_sessions) {
		error_set(&error, ERROR_LIMIT, "this daemon serves %u sessions already, its limit (--max-sessions)",
			  host->options.maximum_sessions);
		limits_hit(host->options.limits, LIMIT_SESSIONS, "%s was refused: %s", rpc_stream_peer(session->stream),
			   error.message);
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
	reply_opened(session, parameters, executor_group_id(session->executor));
}

static void handle_link_lost(struct session *session, struct session_event *event)
{
	enum neighbour side = event->neighbour;
	// One that left in good order matters only when its tensors are waited for; the executor says so then.
	if (!event->flag || session->state == SESSION_CLOSING)
		return;
	if (session->address[side][0] != '\0')
		error_wrap(&event->error, "link to the %s at %s", neighbour_name(side), session->address[side]);
	else
		error_wrap(&event->error, "link to the %s", neighbour_name(side));
	session_end(session, &event->error, event->error.code == ERROR_UNREACHABLE, event->neighbour);
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
	end_with(session, &error);
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
		end_with(session, &event->error);
		rpc_stream_resume(session->stream);
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
	case EVENT_JOINED:
		session->joined = true;
		become_ready(session);
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
		end_with(session, &error);
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
