// A job from open to close.
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "coordinator/run/internal.h"

enum { WAIT_MS = 200, CLOSE_MS = 10000 };

// Waits until each rank has sent `what`, in messages `name`, once.
static bool wait_for_all(struct job *job, enum response_kind what, const char *name, struct error *error)
{
	bool has_answered[PLAN_MAXIMUM_RANKS] = {false}, ok = true;
	job_await(job, name, has_answered);
	for (uint32_t missing = job->ranks; missing > 0 && ok; missing--) {
		struct stage_event *event = job_next_event(job, error);
		ok = event != NULL && (event->response->kind == what || job_unexpected(job, event, error)) &&
		     job_take_answer(job, event->rank, has_answered, error);
		stage_event_free(event);
	}
	job_await(job, NULL, NULL);
	return ok;
}

static void take_opened(struct job *job, uint32_t rank, const struct wire_response *response)
{
	const struct byte_span *id = &response->opened.group_id;
	struct job_group *group = &job->groups[plan_rank_stage(job->plan, rank)];
	if (plan_rank_replica(job->plan, rank) == 0 && id->size == sizeof(group->id)) {
		memcpy(group->id, id->data, id->size);
		group->is_known = true;
	}
	if (response->opened.memory != NULL)
		job->options.events->opened(job->options.user, rank, response->opened.memory);
}

static bool open_ranks(struct job *job, struct error *error)
{
	for (uint32_t r = 0; r < job->ranks; r++)
		if (!job_open_rank(job, r, error))
			return false;
	if (!heartbeat_start(job->sessions, job->ranks, &job->heartbeat, error))
		return false;
	bool ok = kernel_choices_settle(job, take_opened, error);
	job->phase = ok ? JOB_PREPARING : JOB_OPENING;
	return ok;
}

static bool link_ranks(struct job *job, struct error *error)
{
	for (uint32_t r = 0; r < job->ranks; r++)
		if (!job_connect_rank(job, r, error))
			return false;
	return wait_for_all(job, RESPONSE_READY, "its Ready", error);
}

// The work is done and saved: failures from here on are ignored.
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
