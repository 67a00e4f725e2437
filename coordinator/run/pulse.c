// Whether a job may continue to wait: it was not interrupted, messages arrive from every rank, and at least one rank makes progress.
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "coordinator/run/internal.h"

static _Atomic(bool) interrupted;

void job_interrupt(void)
{
	atomic_store(&interrupted, true);
}

bool job_is_interrupted(void)
{
	return atomic_load(&interrupted);
}

// The job ends because of this rank, for the reason in `error`, which becomes the job's.
static bool lose_rank(const struct job *job, uint32_t rank, enum blame blame, struct error *error)
{
	struct stage_movement movement;
	stage_session_movement(job->sessions[rank], &movement);
	struct culprit culprit = {.plan = job->plan,
				  .addresses = job->options.addresses,
				  .blame = blame,
				  .rank = rank,
				  .was_heard = movement.is_heard,
				  .step = job->step,
				  .error = *error};
	culprit_explain(&culprit, job->phase, job->step, error);
	return false;
}

static bool check_silence(const struct job *job, uint64_t now_ns, struct error *error)
{
	uint64_t longest_ms = 0;
	uint32_t silent = 0;
	for (uint32_t r = 0; r < job->ranks; r++) {
		if (job->has_ended[r])
			continue;
		uint64_t silent_ms =
			lateness_silence_ms(&job->lateness, stage_session_heard_ns(job->sessions[r]), now_ns);
		if (silent_ms <= longest_ms)
			continue;
		longest_ms = silent_ms;
		silent = r;
	}
	if (longest_ms <= PROTOCOL_TIMEOUT_MS)
		return true;
	error_set(error, ERROR_UNREACHABLE, "no message came from it for %" PRIu64 " ms", longest_ms);
	return lose_rank(job, silent, BLAME_STREAM, error);
}

// Says for which of the awaited ranks the job has waited too long.
static bool name_holder(const struct job *job, const struct progress_rank *ranks, uint64_t idle_ms, struct error *error)
{
	uint32_t holder = progress_find_holder(ranks, job->ranks);
	const char *what = job->wait.what != NULL ? job->wait.what : "its answer";
	char device[80] = "";
	if (holder == job->ranks) // all have answered: then it is not theirs
		return true;
	if (ranks[holder].device_ns > PROTOCOL_TIMEOUT_MS * UINT64_C(1000000))
		snprintf(device, sizeof(device), ", and its device has run one instruction for %" PRIu64 " s",
			 ranks[holder].device_ns / UINT64_C(1000000000));
	error_set(error, ERROR_UNREACHABLE,
		  "it sends heartbeats, but did not send %s: no stage has made progress for %" PRIu64
		  " s%s (--progress-timeout sets the limit)",
		  what, idle_ms / 1000, device);
	return lose_rank(job, holder, BLAME_FAILED, error);
}

static bool check_progress(struct job *job, uint64_t now_ns, struct error *error)
{
	struct progress_rank ranks[PLAN_MAXIMUM_RANKS];
	for (uint32_t r = 0; r < job->ranks; r++) {
		struct stage_movement movement;
		stage_session_movement(job->sessions[r], &movement);
		ranks[r] = (struct progress_rank){.is_awaited =
							  job->wait.has_answered == NULL || !job->wait.has_answered[r],
						  .device_ns = movement.device_ns,
						  .moved_ns = movement.moved_ns};
		progress_note(&job->progress, movement.moved_ns, job->phase == JOB_RUNNING);
	}
	uint64_t idle_ms = lateness_silence_ms(&job->lateness, job->progress.last_ns, now_ns);
	return idle_ms <= progress_limit_ms(&job->progress, job->phase == JOB_OPENING) ||
	       name_holder(job, ranks, idle_ms, error);
}

void job_await(struct job *job, const char *what, const bool *has_answered)
{
	job->wait = (struct job_wait){what, has_answered};
}

bool job_check_pulse(struct job *job, struct error *error)
{
	if (job_is_interrupted())
		return error_set(error, ERROR_CANCELLED, "interrupted at step %" PRIu64, job->step);
	uint64_t now_ns = clock_now_ns();
	lateness_look(&job->lateness, now_ns, rpc_lag_ns());
	return check_silence(job, now_ns, error) && check_progress(job, now_ns, error);
}
