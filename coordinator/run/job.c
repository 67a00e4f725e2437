// A job from open to close.
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/clock.h"
#include "coordinator/run/internal.h"

enum {
	WAIT_MS = 200,   // for an event, before looking at silence and interrupts
	BLAME_MS = 1000, // how long others may still name the cause
	CLOSE_MS = 10000,
};

static volatile sig_atomic_t interrupted;

void job_interrupt(void)
{
	interrupted = 1;
}

bool job_check_pulse(struct job *job, struct error *error)
{
	if (interrupted)
		return error_set(error, ERROR_CANCELLED, "interrupted at step %" PRIu64, job->step);
	for (uint32_t s = 0; s < job->stages; s++) {
		struct culprit hanging = {.blame = BLAME_STREAM, .stage = s};
		uint64_t silent_ms = stage_session_silent_ms(job->sessions[s]);
		if (silent_ms <= PROTOCOL_TIMEOUT_MS)
			continue;
		error_set(&hanging.error, ERROR_UNREACHABLE, "it has been silent for %" PRIu64 " ms", silent_ms);
		culprit_explain(&hanging, job->options.addresses, job->stages, job->phase, job->step, error);
		return false;
	}
	return true;
}

// Listens a little longer than the first sign of trouble (taken): the stage where it began may still say so.
static void find_culprit(struct job *job, struct stage_event *first, struct error *error)
{
	struct culprit culprit = {.blame = BLAME_NOTHING};
	uint64_t begin = clock_now_ns();
	struct stage_event *event = first;
	for (;;) {
		if (event != NULL)
			culprit_accuse(&culprit, event);
		if (event != NULL && event->payload != NULL) // what its stage says next may explain more
			stage_session_resume(job->sessions[event->stage]);
		stage_event_free(event);
		uint64_t passed_ms = (clock_now_ns() - begin) / 1000000;
		if (culprit.blame == BLAME_FAILED || passed_ms >= BLAME_MS)
			break;
		event = stage_events_take(job->events, (uint32_t)(BLAME_MS - passed_ms));
	}
	culprit_explain(&culprit, job->options.addresses, job->stages, job->phase, job->step, error);
}

struct stage_event *job_next_event(struct job *job, struct error *error)
{
	for (;;) {
		if (!job_check_pulse(job, error))
			return NULL;
		struct stage_event *event = stage_events_take(job->events, WAIT_MS);
		if (event == NULL)
			continue;
		if (event->response != NULL &&
		    event->response->body_case != PENSTOCK__V1__SESSION_RESPONSE__BODY_FAILED)
			return event;
		find_culprit(job, event, error);
		return NULL;
	}
}

bool job_unexpected(const struct job *job, const struct stage_event *event, struct error *error)
{
	return error_set(error, ERROR_PROTOCOL, "stage %u on %s: answer %d, which nobody asked for", event->stage,
			 stage_session_address(job->sessions[event->stage]), (int)event->response->body_case);
}

bool job_wait_for_all(struct job *job, Penstock__V1__SessionResponse__BodyCase what,
		      void (*take)(struct job *job, uint32_t stage, const Penstock__V1__SessionResponse *response),
		      struct error *error)
{
	for (uint32_t missing = job->stages; missing > 0; missing--) {
		struct stage_event *event = job_next_event(job, error);
		if (event == NULL)
			return false;
		bool ok = event->response->body_case == what || job_unexpected(job, event, error);
		if (ok && take != NULL)
			take(job, event->stage, event->response);
		stage_event_free(event);
		if (!ok)
			return false;
	}
	return true;
}

// ---- The line

static bool same_daemon(const struct job *job, uint32_t a, uint32_t b)
{
	return strcmp(job->options.addresses[a], job->options.addresses[b]) == 0;
}

static bool open_stage(struct job *job, uint32_t s, struct error *error)
{
	struct stage_session_options options = {
		.stage = s, .address = job->options.addresses[s], .events = job->events};
	if (getrandom(job->tokens[s], PROTOCOL_TOKEN_BYTES, 0) != PROTOCOL_TOKEN_BYTES)
		return error_set(error, ERROR_FAILED, "no random bytes for a link's token: %m");
	if (!stage_session_create(&options, &job->sessions[s], error))
		return false;
	Penstock__V1__Open open = PENSTOCK__V1__OPEN__INIT;
	open.protocol_version = PROTOCOL_VERSION;
	open.job = (char *)job->options.name;
	open.connections = job->options.connections;
	open.chunk_bytes = job->options.chunk_bytes;
	struct plan_place place = {.device = job->options.devices[s],
				   .previous_is_local = s > 0 && same_daemon(job, s - 1, s),
				   .next_is_local =
					   s + 1 < job->plan->options.pipeline_size && same_daemon(job, s, s + 1)};
	open.plan = plan_stage_message(job->plan, 0, s, &place);
	if (open.plan == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	if (s > 0) {
		open.link_token.data = job->tokens[s];
		open.link_token.len = PROTOCOL_TOKEN_BYTES;
	}
	stage_session_open(job->sessions[s], &open);
	plan_free_message(open.plan);
	return true;
}

static void take_opened(struct job *job, uint32_t stage, const Penstock__V1__SessionResponse *response)
{
	const Penstock__V1__MemoryUse *memory = response->opened->memory;
	if (memory == NULL)
		return;
	job->options.events->opened(job->options.user, stage,
				    &(struct job_memory){.parameter_bytes = memory->parameter_bytes,
							 .gradient_bytes = memory->gradient_bytes,
							 .optimizer_bytes = memory->optimizer_bytes,
							 .stash_bytes = memory->stash_bytes,
							 .workspace_bytes = memory->workspace_bytes,
							 .exchange_bytes = memory->exchange_bytes});
}

static bool open_stages(struct job *job, struct error *error)
{
	for (uint32_t s = 0; s < job->stages; s++)
		if (!open_stage(job, s, error))
			return false;
	if (!heartbeat_start(job->sessions, job->stages, &job->heartbeat, error))
		return false;
	bool ok = job_wait_for_all(job, PENSTOCK__V1__SESSION_RESPONSE__BODY_OPENED, take_opened, error);
	job->phase = ok ? JOB_PREPARING : JOB_OPENING;
	return ok;
}

static bool link_stages(struct job *job, struct error *error)
{
	for (uint32_t s = 0; s < job->stages; s++) {
		bool last = s + 1 == job->stages;
		stage_session_connect(job->sessions[s], last ? NULL : job->options.addresses[s + 1],
				      last ? NULL : job->tokens[s + 1]);
	}
	return job_wait_for_all(job, PENSTOCK__V1__SESSION_RESPONSE__BODY_READY, NULL, error);
}

// The work is done and saved: an end that is not in good order costs nothing any more.
static void close_stages(struct job *job)
{
	uint64_t begin = clock_now_ns();
	uint32_t missing = job->stages;
	for (uint32_t s = 0; s < job->stages; s++)
		stage_session_close(job->sessions[s]);
	while (missing > 0 && (clock_now_ns() - begin) / 1000000 < CLOSE_MS) {
		struct stage_event *event = stage_events_take(job->events, WAIT_MS);
		missing -= event != NULL && event->response == NULL; // the call's end, after Closed
		stage_event_free(event);
	}
}

static void destroy(struct job *job)
{
	heartbeat_stop(job->heartbeat);
	for (uint32_t s = 0; s < job->stages && job->sessions != NULL; s++)
		stage_session_destroy(job->sessions[s]);
	stage_events_destroy(job->events);
	safetensors_writer_abort(job->writer);
	free(job->sessions);
	free(job->tokens);
	free(job->entries);
}

bool job_run(const struct job_options *options, struct error *error)
{
	struct job job = {.options = *options, .plan = options->plan, .stages = options->plan->options.pipeline_size};
	job.events = stage_events_create();
	job.sessions = calloc(job.stages, sizeof(*job.sessions));
	job.tokens = calloc(job.stages, sizeof(*job.tokens));
	bool ok = (job.events != NULL && job.sessions != NULL && job.tokens != NULL) ||
		  error_set(error, ERROR_FAILED, "out of memory");
	ok = ok && parameters_prepare_save(&job, error) && open_stages(&job, error) && parameters_load(&job, error) &&
	     link_stages(&job, error) && steps_run(&job, error) && parameters_save(&job, error);
	if (ok)
		close_stages(&job);
	destroy(&job);
	return ok;
}
