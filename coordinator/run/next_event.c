// The next event of a job: an answer of a rank, or the end of the job with the error that explains it best.
#include "common/base/clock.h"
#include "common/base/strings.h"
#include "coordinator/run/internal.h"

enum {
	WAIT_MS = 200,   // for an event, between two checks of silence, progress and interrupts
	BLAME_MS = 1000, // time in which other ranks may still report the root cause
	// Time for the other nodes to answer if one could not be reached: longer than a connection may take.
	REACH_MS = PROTOCOL_TIMEOUT_MS + 1000,
};

static const struct failure *failure_of(const struct stage_event *event)
{
	bool failed = event->response != NULL && event->response->kind == RESPONSE_FAILED;
	return failed ? &event->response->failed : NULL;
}

// A daemon that stops finishes its step before it says so. Its neighbours finish that step too, and report it later. Failures that
// arrive in between are consequences. If several daemons stop, the one with the fewest steps counts.
// Takes the event if it returns true.
static bool await_drained(struct job *job, struct stage_event *event)
{
	const struct stage_event *before = job->drained;
	const struct failure *failed = failure_of(event);
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
	if (event->payload != NULL) // the rank's next messages may explain more
		stage_session_resume(job->sessions[event->rank]);
	stage_event_free(event);
}

// How long to wait after the first failure. The rank with the root cause may still report it, and a job that opens names all nodes that
// cannot be reached.
static uint64_t patience_ms(const struct job *job)
{
	const struct culprit *culprit = &job->culprit;
	if (culprit->blame == BLAME_FAILED || job_is_interrupted())
		return 0;
	if (job->phase != JOB_OPENING || culprit->error.code != ERROR_UNREACHABLE || culprit->was_heard)
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

// If a call failed because this process was paused while it connected, starts it again. Sets *ret_taken if it took the event. False with
// an error if the call cannot be started.
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
	return job_open_rank(job, rank, error) && heartbeat_start(job->sessions, job->ranks, &job->heartbeat, error);
}

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
		job->opened += is_answer && event->response->kind == RESPONSE_OPENED;
		if (is_answer && (job->accused_ns == 0 || job->phase == JOB_RUNNING))
			return event;
		if (is_answer || !await_drained(job, event))
			accuse(job, event);
	}
}
