// Parameters between a safetensors file and the ranks, in chunks: into all of them, and back from one replica.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "coordinator/run/internal.h"

enum {
	LOAD_BUFFERS = 8,    // chunks that may be on their way at once
	CHUNK_WAIT_MS = 200, // for one of them, before looking at silence and interrupts
};

static bool same_shape(const struct parameter *parameter, const struct safetensors_entry *entry)
{
	bool same = parameter->rank == entry->rank;
	for (uint32_t i = 0; i < parameter->rank && same; i++)
		same = parameter->dimensions[i] == entry->dimensions[i];
	return same;
}

static void shape_text(char *into, size_t size, uint32_t rank, const uint64_t *dimensions)
{
	size_t length = 0;
	into[0] = '\0';
	for (uint32_t i = 0; i < rank && length + 24 < size; i++)
		length +=
			(size_t)snprintf(into + length, size - length, "%s%" PRIu64, i > 0 ? ", " : "", dimensions[i]);
}

static bool refuse_shape(const struct parameter *parameter, const struct safetensors_entry *entry, struct error *error)
{
	char theirs[160], ours[160];
	uint64_t dimensions[4];
	for (uint32_t i = 0; i < parameter->rank; i++)
		dimensions[i] = parameter->dimensions[i];
	shape_text(theirs, sizeof(theirs), entry->rank, entry->dimensions);
	shape_text(ours, sizeof(ours), parameter->rank, dimensions);
	return error_set(error, ERROR_USAGE, "%s has shape (%s) in the file, (%s) in the model", parameter->name,
			 theirs, ours);
}

bool job_check_load(const struct parameter *parameter, const struct safetensors *file, struct error *error)
{
	const struct safetensors_entry *entry = safetensors_find(file, parameter->name);
	if (entry == NULL)
		return error_set(error, ERROR_USAGE, "%s is not in the file", parameter->name);
	return same_shape(parameter, entry) ? safetensors_check_type(entry, error)
					    : refuse_shape(parameter, entry, error);
}

// ---- Load

// A chunk that is not on its way; NULL with an error when the job is over before one comes back.
static struct buffer *take_chunk(struct job *job, struct buffer_pool *pool, struct error *error)
{
	struct buffer *chunk;
	while ((chunk = buffer_pool_take_within(pool, CHUNK_WAIT_MS)) == NULL)
		if (!job_check_pulse(job, error))
			return NULL;
	progress_note(&job->progress, clock_now_ns(), false); // a chunk has left
	return chunk;
}

static bool load_one(struct job *job, struct stage_session *session, uint32_t index, struct buffer_pool *pool,
		     struct error *error)
{
	struct parameter parameter;
	model_parameter(&job->plan->model, index, &parameter);
	const struct safetensors *file = job->options.load;
	const struct safetensors_entry *entry = safetensors_find(file, parameter.name); // job_check_load saw it
	const uint64_t most = PROTOCOL_PARAMETER_CHUNK_BYTES / sizeof(float);
	for (uint64_t first = 0; first < parameter.count; first += most) {
		uint64_t count = parameter.count - first < most ? parameter.count - first : most;
		struct buffer *chunk = take_chunk(job, pool, error);
		if (chunk == NULL)
			return false;
		bool ok = safetensors_read(file, entry, first, count, (float *)(void *)chunk->data, error);
		if (ok)
			stage_session_load(session,
					   &(struct parameter_chunk){parameter.name, parameter.dimensions,
								     parameter.rank, first * sizeof(float)},
					   chunk, count * sizeof(float));
		buffer_unref(chunk);
		if (!ok)
			return error_wrap(error, "--load");
	}
	return true;
}

// Sends the rank's next parameter; *ret_done when it has them all.
static bool load_next(struct job *job, uint32_t rank, uint32_t *next, struct buffer_pool *pool, bool *ret_done,
		      struct error *error)
{
	const struct plan_stage *stage = &job->plan->stages[plan_rank_stage(job->plan, rank)];
	const bool *skips = job->options.load_skips;
	uint32_t end = model_first_parameter(&job->plan->model, stage->end_layer);
	while (skips != NULL && *next < end && skips[*next])
		(*next)++; // the daemon has drawn it
	*ret_done = *next == end;
	return *ret_done || load_one(job, job->sessions[rank], (*next)++, pool, error);
}

// All ranks at once, each parameter when the rank has the one before. `next` is [ranks].
static bool load_all(struct job *job, uint32_t *next, struct buffer_pool *pool, struct error *error)
{
	uint32_t loading = 0;
	bool has_all[PLAN_MAXIMUM_RANKS] = {false};
	job_await(job, "its Loaded", has_all);
	for (uint32_t r = 0; r < job->ranks; r++) {
		const struct plan_stage *stage = &job->plan->stages[plan_rank_stage(job->plan, r)];
		next[r] = model_first_parameter(&job->plan->model, stage->first_layer);
		if (!load_next(job, r, &next[r], pool, &has_all[r], error))
			return false;
		loading += !has_all[r];
	}
	while (loading > 0) {
		struct stage_event *event = job_next_event(job, error);
		if (event == NULL)
			return false;
		uint32_t r = event->rank;
		bool is_due = event->response->kind == RESPONSE_LOADED && !has_all[r];
		bool ok = is_due ? load_next(job, r, &next[r], pool, &has_all[r], error)
				 : job_unexpected(job, event, error);
		stage_event_free(event);
		if (!ok)
			return false;
		loading -= has_all[r];
	}
	return true;
}

bool parameters_load(struct job *job, struct error *error)
{
	if (job->options.load == NULL)
		return true;
	uint32_t *next = calloc(job->ranks, sizeof(*next));
	struct buffer_pool *pool = buffer_pool_create(PROTOCOL_PARAMETER_CHUNK_BYTES, LOAD_BUFFERS, NULL);
	bool ok = next != NULL && pool != NULL ? load_all(job, next, pool, error)
					       : error_set(error, ERROR_FAILED, "out of memory");
	job_await(job, NULL, NULL);
	free(next);
	buffer_pool_destroy(pool);
	return ok;
}

// ---- Save

// The entries of the parameters that the rank holds: from `*ret_first` up to the result.
static uint32_t entries_of(const struct job *job, uint32_t rank, uint32_t *ret_first)
{
	const struct plan_stage *stage = &job->plan->stages[plan_rank_stage(job->plan, rank)];
	*ret_first = model_first_parameter(&job->plan->model, stage->first_layer);
	return model_first_parameter(&job->plan->model, stage->end_layer);
}

// Whether the chunk is the next one of a parameter that the rank holds; which one goes to `*ret_index`.
static bool is_next_chunk(const struct job *job, const struct stage_event *event, uint32_t *ret_index)
{
	const struct parameter_chunk *parameter = &event->response->saved_parameter;
	uint64_t size = event->payload->size;
	uint32_t i, end = entries_of(job, event->rank, &i);
	while (i < end && strcmp(job->entries[i].name, parameter->name) != 0)
		i++;
	*ret_index = i;
	return i < end && size > 0 && parameter->offset_bytes == job->saved_bytes[i] &&
	       size <= job->entries[i].size_bytes - job->saved_bytes[i];
}

static bool refuse_chunk(const struct job *job, const struct stage_event *event, struct error *error)
{
	char why[240];
	const struct parameter_chunk *parameter = &event->response->saved_parameter;
	snprintf(why, sizeof(why), "bytes %" PRIu64 "+%zu of %.80s: unknown parameter or range",
		 parameter->offset_bytes, event->payload->size, parameter->name);
	return job_refuse(job, event->rank, why, error);
}

static bool is_finite(const struct buffer *floats)
{
	for (size_t i = 0; i + sizeof(float) <= floats->size; i += sizeof(float)) {
		float value;
		memcpy(&value, floats->data + i, sizeof(value));
		if (!isfinite(value))
			return false;
	}
	return true;
}

static bool write_chunk(struct job *job, const struct stage_event *event, struct error *error)
{
	const struct parameter_chunk *parameter = &event->response->saved_parameter;
	size_t size = event->payload->size;
	uint32_t index;
	if (!is_next_chunk(job, event, &index))
		return refuse_chunk(job, event, error);
	job->saved_bytes[index] += size;
	if (job->writer != NULL && job->options.stop_on_nan && !is_finite(event->payload))
		return error_set(
			error, ERROR_DIVERGED,
			"--save %s: %.80s has values that are not finite after the last step: training diverged, and "
			"the file was left as it was; --no-stop-on-nan saves them",
			job->options.save, parameter->name);
	const struct job_sink *sink = job->options.sink;
	if (sink != NULL && !sink->put(sink->user, index, parameter->offset_bytes, event->payload->data, size, error))
		return false;
	return job->writer == NULL ||
	       safetensors_writer_put(job->writer, index, parameter->offset_bytes, event->payload->data, size, error);
}

// The file and its space are claimed before the first step: a run that could not be saved is not begun.
bool parameters_prepare_save(struct job *job, struct error *error)
{
	if (job->options.save == NULL && job->options.sink == NULL)
		return true;
	const struct model *model = &job->plan->model;
	uint32_t count = model_parameter_count(model);
	struct safetensors_entry *entries = calloc(count, sizeof(*entries));
	struct safetensors_writer *writer = NULL;
	if (entries == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t i = 0; i < count; i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		strcpy(entries[i].name, parameter.name);
		entries[i].rank = parameter.rank;
		entries[i].size_bytes = parameter.count * sizeof(float);
		for (uint32_t d = 0; d < parameter.rank; d++)
			entries[i].dimensions[d] = parameter.dimensions[d];
	}
	if (job->options.save != NULL &&
	    !safetensors_writer_create(job->options.save, entries, count, &writer, error)) {
		free(entries);
		return error_wrap(error, "--save");
	}
	job->saved_bytes = calloc(count, sizeof(*job->saved_bytes));
	job->entries = entries;
	job->entry_count = count;
	job->writer = writer;
	return job->saved_bytes != NULL || error_set(error, ERROR_FAILED, "out of memory");
}

// Saved says that the rank has sent all that it holds.
static bool check_saved(const struct job *job, uint32_t rank, struct error *error)
{
	char why[240];
	uint32_t i, end = entries_of(job, rank, &i);
	while (i < end && job->saved_bytes[i] == job->entries[i].size_bytes)
		i++;
	if (i == end)
		return true;
	snprintf(why, sizeof(why), "Saved came before all parameters: %.80s has %" PRIu64 " of %" PRIu64 " bytes",
		 job->entries[i].name, job->saved_bytes[i], job->entries[i].size_bytes);
	return job_refuse(job, rank, why, error);
}

// `has_saved` is [ranks]. Replicas hold the same bits: the first one alone was asked.
static bool take_saved(struct job *job, const struct stage_event *event, bool *has_saved, struct error *error)
{
	if (has_saved[event->rank]) // or was not asked
		return job_unexpected(job, event, error);
	has_saved[event->rank] = event->response->kind == RESPONSE_SAVED;
	if (has_saved[event->rank])
		return check_saved(job, event->rank, error);
	if (event->response->kind != RESPONSE_SAVED_PARAMETER)
		return job_unexpected(job, event, error);
	bool ok = write_chunk(job, event, error);
	stage_session_resume(job->sessions[event->rank]);
	return ok;
}

static bool receive_all(struct job *job, struct error *error)
{
	uint32_t stages = job->plan->options.pipeline_size;
	bool has_saved[PLAN_MAXIMUM_RANKS];
	for (uint32_t r = 0; r < job->ranks; r++)
		has_saved[r] = plan_rank_replica(job->plan, r) != 0;
	job_await(job, "its Saved", has_saved);
	for (uint32_t s = 0; s < stages; s++)
		stage_session_save(job->sessions[plan_rank(job->plan, s, 0)]);
	for (uint32_t missing = stages; missing > 0;) {
		struct stage_event *event = job_next_event(job, error);
		bool ok = event != NULL && take_saved(job, event, has_saved, error);
		if (ok)
			missing -= has_saved[event->rank];
		stage_event_free(event);
		if (!ok)
			return false;
	}
	return true;
}

bool parameters_save(struct job *job, struct error *error)
{
	if (job->options.save == NULL && job->options.sink == NULL)
		return true;
	job->phase = JOB_SAVING;
	bool ok = receive_all(job, error);
	job_await(job, NULL, NULL);
	struct safetensors_writer *writer = job->writer;
	job->writer = NULL;
	if (ok && writer != NULL)
		return safetensors_writer_finish(writer, error);
	safetensors_writer_abort(writer);
	return ok;
}
