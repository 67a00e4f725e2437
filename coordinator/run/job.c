// A job from open to close.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/clock.h"
#include "common/base/strings.h"
#include "coordinator/run/internal.h"
#include "coordinator/plan/rank_name.h"

enum {
	WAIT_MS = 200,   // for an event, before looking at silence and interrupts
	BLAME_MS = 1000, // how long others may still name the cause
	// How long the other nodes have to answer when one could not be reached: longer than a connection may take.
	REACH_MS = PROTOCOL_TIMEOUT_MS + 1000,
	CLOSE_MS = 10000,
};

static const Penstock__V1__Failed *failure_of(const struct stage_event *event)
{
	bool failed =
		event->response != NULL && event->response->body_case == PENSTOCK__V1__SESSION_RESPONSE__BODY_FAILED;
	return failed ? event->response->failed : NULL;
}

// A daemon that stops finishes its step before it says so. Its neighbours finish that step too, and report it later. Failures that
// arrive in between are consequences. If several daemons stop, the one with the fewest steps counts.
// Takes the event if it returns true.
static bool await_drained(struct job *job, struct stage_event *event)
{
	const struct stage_event *before = job->drained;
	const Penstock__V1__Failed *failed = failure_of(event);
	bool drained = failed != NULL && failed->drained;
	if (before == NULL && (!drained || job->phase != JOB_RUNNING))
		return false;
	if (before == NULL || (drained && failed->step < failure_of(before)->step)) {
		stage_event_free(steal_pointer(job->drained));
		job->drained = event;
	} else {
		stage_event_free(event);
	}
	return true;
}

// Whether the job waits for a rank that has failed, or whose call has ended.
static bool awaits_ended_rank(const struct job *job)
{
	for (uint32_t r = 0; r < job->ranks; r++)
		if (job->has_ended[r] && job->wait.has_answered != NULL && !job->wait.has_answered[r])
			return true;
	return false;
}

// Whether all reports of the last step of a daemon that stopped have arrived, or one of them can no longer arrive.
static bool is_drained(const struct job *job)
{
	return job->drained != NULL &&
	       (job->step > failure_of(job->drained)->step || job->phase != JOB_RUNNING || awaits_ended_rank(job));
}

// Takes the event.
static void accuse(struct job *job, struct stage_event *event)
{
	if (job->accused_ns == 0)
		job->accused_ns = clock_now_ns();
	culprit_accuse(&job->culprit, event);
	if (event->payload != NULL) // what its rank says next may explain more
		stage_session_resume(job->sessions[event->rank]);
	stage_event_free(event);
}

// How long to listen after the first sign of trouble: the rank where it began may still say so, and a job that opens names all nodes
// that it cannot reach.
static uint64_t patience_ms(const struct job *job)
{
	const struct culprit *culprit = &job->culprit;
	if (culprit->blame == BLAME_FAILED || job_is_interrupted())
		return 0;
	if (job->phase != JOB_OPENING || culprit->error.code != ERROR_UNREACHABLE)
		return BLAME_MS;
	return job->opened + culprit->ended >= job->ranks ? BLAME_MS : REACH_MS;
}

static bool is_judged(const struct job *job)
{
	return job->accused_ns != 0 && job->drained == NULL &&
	       (clock_now_ns() - job->accused_ns) / 1000000 >= patience_ms(job);
}

// False with an error when the job must not wait longer. If a daemon has stopped, a rank that is silent or makes no progress is a
// consequence: then the error is that daemon's, which is_judged finds.
static bool may_wait(struct job *job, struct error *error)
{
	if ((job->accused_ns != 0 && job->drained == NULL) || job_check_pulse(job, error))
		return true;
	if (job->drained == NULL || job_is_interrupted())
		return false;
	accuse(job, steal_pointer(job->drained));
	return true;
}

static bool forgive_own_pause(struct job *job, struct stage_event *event, bool *ret_taken, struct error *error);

struct stage_event *job_next_event(struct job *job, struct error *error)
{
	for (;;) {
		if (is_drained(job))
			accuse(job, steal_pointer(job->drained));
		if (is_judged(job)) {
			culprit_explain(&job->culprit, job->phase, job->step, error);
			return NULL;
		}
		if (!may_wait(job, error))
			return NULL;
		struct stage_event *event = stage_events_take(job->events, WAIT_MS);
		bool is_forgiven = false;
		if (event != NULL && !forgive_own_pause(job, event, &is_forgiven, error))
			return NULL;
		if (event == NULL || is_forgiven)
			continue;
		// A report counts even after a sign of trouble: if a daemon stops, the failures of its neighbours may arrive before its
		// last report.
		bool is_answer = event->response != NULL && failure_of(event) == NULL;
		job->has_ended[event->rank] |= !is_answer;
		job->opened += is_answer && event->response->body_case == PENSTOCK__V1__SESSION_RESPONSE__BODY_OPENED;
		if (is_answer && (job->accused_ns == 0 || job->phase == JOB_RUNNING))
			return event;
		if (is_answer || !await_drained(job, event))
			accuse(job, event);
	}
}

bool job_refuse(const struct job *job, uint32_t rank, const char *why, struct error *error)
{
	char who[RANK_NAME_SIZE];
	return error_set(error, ERROR_PROTOCOL, "%s: %s",
			 rank_name(job->plan, rank, job->options.addresses[rank], who, sizeof(who)), why);
}

bool job_unexpected(const struct job *job, const struct stage_event *event, struct error *error)
{
	char why[64];
	snprintf(why, sizeof(why), "unexpected answer %d", (int)event->response->body_case);
	return job_refuse(job, event->rank, why, error);
}

// Waits until each rank has sent `what`, in messages `name`, once.
static bool wait_for_all(struct job *job, Penstock__V1__SessionResponse__BodyCase what, const char *name,
			 struct error *error)
{
	bool has_answered[PLAN_MAXIMUM_RANKS] = {false}, ok = true;
	job_await(job, name, has_answered);
	for (uint32_t missing = job->ranks; missing > 0 && ok; missing--) {
		struct stage_event *event = job_next_event(job, error);
		ok = event != NULL && (event->response->body_case == what || job_unexpected(job, event, error)) &&
		     job_take_answer(job, event->rank, has_answered, error);
		stage_event_free(event);
	}
	job_await(job, NULL, NULL);
	return ok;
}

// ---- The grid: replicas side by side, each a line of stages; and each stage's replicas a ring

static bool is_last_stage(const struct job *job, uint32_t rank)
{
	return plan_rank_stage(job->plan, rank) + 1 == job->plan->options.pipeline_size;
}

// The neighbour `by` further in the ring of the rank's stage.
static uint32_t ring_neighbour(const struct job *job, uint32_t rank, uint32_t by)
{
	uint32_t d = job->plan->options.data_parallel_size, replica = plan_rank_replica(job->plan, rank);
	return plan_rank(job->plan, plan_rank_stage(job->plan, rank), (replica + by) % d);
}

static bool same_daemon(const struct job *job, uint32_t a, uint32_t b)
{
	return strcmp(job->options.addresses[a], job->options.addresses[b]) == 0;
}

static struct plan_place place_of(const struct job *job, uint32_t rank)
{
	uint32_t d = job->plan->options.data_parallel_size;
	return (struct plan_place){
		.device = job->options.devices[rank],
		.previous_is_local = rank >= d && same_daemon(job, rank - d, rank),
		.next_is_local = !is_last_stage(job, rank) && same_daemon(job, rank, rank + d),
		.previous_replica_is_local = d > 1 && same_daemon(job, ring_neighbour(job, rank, d - 1), rank),
		.reduce_in_group = job->options.reduce_in_group,
		.next_replica_is_local = d > 1 && same_daemon(job, rank, ring_neighbour(job, rank, 1)),
	};
}

static bool open_rank(struct job *job, uint32_t rank, struct error *error)
{
	uint32_t stage = plan_rank_stage(job->plan, rank), replica = plan_rank_replica(job->plan, rank);
	struct stage_session_options options = {
		.rank = rank, .address = job->options.addresses[rank], .tls = job->options.tls, .events = job->events};
	struct plan_place place = place_of(job, rank);
	struct job_tokens *tokens = &job->tokens[rank];
	if (getrandom(tokens, sizeof(*tokens), 0) != (ssize_t)sizeof(*tokens))
		return error_set(error, ERROR_FAILED, "no random bytes for a link's token: %m");
	if (!stage_session_create(&options, &job->sessions[rank], error))
		return false;
	Penstock__V1__Open open = PENSTOCK__V1__OPEN__INIT;
	open.protocol_version = PROTOCOL_VERSION;
	open.job = (char *)job->options.name;
	open.connections = job->options.connections;
	open.chunk_bytes = job->options.chunk_bytes;
	open.plan = plan_stage_message(job->plan, replica, stage, &place);
	if (open.plan == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	if (stage > 0)
		open.link_token = (ProtobufCBinaryData){.data = tokens->link, .len = PROTOCOL_TOKEN_BYTES};
	if (job->plan->options.data_parallel_size > 1)
		open.replica_token = (ProtobufCBinaryData){.data = tokens->replica, .len = PROTOCOL_TOKEN_BYTES};
	stage_session_open(job->sessions[rank], &open);
	plan_free_message(open.plan);
	return true;
}

static void take_opened(struct job *job, uint32_t rank, const Penstock__V1__SessionResponse *response)
{
	const Penstock__V1__MemoryUse *memory = response->opened->memory;
	const ProtobufCBinaryData *id = &response->opened->group_id;
	struct job_group *group = &job->groups[plan_rank_stage(job->plan, rank)];
	if (plan_rank_replica(job->plan, rank) == 0 && id->len == sizeof(group->id)) {
		memcpy(group->id, id->data, id->len);
		group->is_known = true;
	}
	if (memory == NULL)
		return;
	job->options.events->opened(job->options.user, rank,
				    &(struct job_memory){.parameter_bytes = memory->parameter_bytes,
							 .gradient_bytes = memory->gradient_bytes,
							 .optimizer_bytes = memory->optimizer_bytes,
							 .stash_bytes = memory->stash_bytes,
							 .workspace_bytes = memory->workspace_bytes,
							 .exchange_bytes = memory->exchange_bytes});
}

// A call that fails because this process was stopped while it connected is no fault of the daemon's: it is begun again. Takes the event,
// or leaves it to be judged; false with an error when the call cannot be begun.
static bool forgive_own_pause(struct job *job, struct stage_event *event, bool *ret_taken, struct error *error)
{
	struct stage_movement movement;
	uint32_t rank = event->rank;
	*ret_taken = false;
	if (event->response != NULL || job->phase != JOB_OPENING)
		return true;
	lateness_look(&job->lateness, clock_now_ns(), rpc_lag_ns());
	stage_session_movement(job->sessions[rank], &movement);
	if (movement.is_heard || job->lateness.excused_ns <= movement.begun_ns)
		return true;
	*ret_taken = true;
	stage_event_free(event);
	heartbeat_stop(steal_pointer(job->heartbeat)); // it uses the sessions
	stage_session_destroy(steal_pointer(job->sessions[rank]));
	return open_rank(job, rank, error) && heartbeat_start(job->sessions, job->ranks, &job->heartbeat, error);
}

static bool open_ranks(struct job *job, struct error *error)
{
	for (uint32_t r = 0; r < job->ranks; r++)
		if (!open_rank(job, r, error))
			return false;
	if (!heartbeat_start(job->sessions, job->ranks, &job->heartbeat, error))
		return false;
	bool ok = kernel_choices_settle(job, take_opened, error);
	job->phase = ok ? JOB_PREPARING : JOB_OPENING;
	return ok;
}

// What the rank joins its stage's group with; NULL: there is none to join.
static bool find_group(const struct job *job, uint32_t rank, const uint8_t **ret_id, struct error *error)
{
	uint32_t stage = plan_rank_stage(job->plan, rank);
	const struct job_group *group = &job->groups[stage];
	bool joins = job->options.reduce_in_group && job->plan->stages[stage].parameters > 0;
	*ret_id = joins ? group->id : NULL;
	return !joins || group->is_known ||
	       job_refuse(job, plan_rank(job->plan, stage, 0), "its Opened has no group_id of 128 bytes", error);
}

static bool link_ranks(struct job *job, struct error *error)
{
	uint32_t d = job->plan->options.data_parallel_size;
	for (uint32_t r = 0; r < job->ranks; r++) {
		struct stage_session_next stage = {0}, replica = {0};
		if (!is_last_stage(job, r))
			stage = (struct stage_session_next){job->options.addresses[r + d], job->tokens[r + d].link};
		uint32_t next = ring_neighbour(job, r, 1);
		if (d > 1)
			replica = (struct stage_session_next){job->options.addresses[next], job->tokens[next].replica};
		const uint8_t *group_id;
		if (!find_group(job, r, &group_id, error))
			return false;
		stage_session_connect(job->sessions[r], &stage, &replica, group_id);
	}
	return wait_for_all(job, PENSTOCK__V1__SESSION_RESPONSE__BODY_READY, "its Ready", error);
}

// The work is done and saved: an end that is not in good order costs nothing any more.
static void close_ranks(struct job *job)
{
	uint64_t begin = clock_now_ns();
	uint32_t missing = job->ranks;
	for (uint32_t r = 0; r < job->ranks; r++)
		stage_session_close(job->sessions[r]);
	while (missing > 0 && (clock_now_ns() - begin) / 1000000 < CLOSE_MS) {
		struct stage_event *event = stage_events_take(job->events, WAIT_MS);
		missing -= event != NULL && event->response == NULL; // the call's end, after Closed
		stage_event_free(event);
	}
}

static void destroy(struct job *job)
{
	heartbeat_stop(job->heartbeat);
	for (uint32_t r = 0; r < job->ranks && job->sessions != NULL; r++)
		stage_session_destroy(job->sessions[r]);
	stage_event_free(job->drained);
	stage_events_destroy(job->events);
	safetensors_writer_abort(job->writer);
	free(job->sessions);
	free(job->tokens);
	free(job->groups);
	kernel_choices_destroy(job->kernels);
	free(job->entries);
	free(job->saved_bytes);
}

bool job_run(const struct job_options *options, struct error *error)
{
	struct job job = {.options = *options,
			  .plan = options->plan,
			  .ranks = plan_rank_count(options->plan),
			  .progress = {.floor_ms = options->progress_timeout_s * UINT64_C(1000)},
			  .culprit = {.plan = options->plan, .addresses = options->addresses}};
	job.events = stage_events_create();
	job.sessions = calloc(job.ranks, sizeof(*job.sessions));
	job.tokens = calloc(job.ranks, sizeof(*job.tokens));
	job.groups = calloc(options->plan->options.pipeline_size, sizeof(*job.groups));
	bool ok = (job.events != NULL && job.sessions != NULL && job.tokens != NULL && job.groups != NULL) ||
		  error_set(error, ERROR_FAILED, "out of memory");
	ok = ok && kernel_choices_create(&job, error) && parameters_prepare_save(&job, error) &&
	     open_ranks(&job, error) && parameters_load(&job, error) && link_ranks(&job, error) &&
	     steps_run(&job, error) && parameters_save(&job, error);
	if (ok)
		close_ranks(&job);
	destroy(&job);
	return ok;
}
