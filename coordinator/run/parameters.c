// Parameters between a safetensors file and the stages, in chunks.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/run/internal.h"

enum { LOAD_BUFFERS = 8 }; // chunks that may be on their way at once

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

bool job_check_load(const struct plan *plan, const struct safetensors *file, struct error *error)
{
	for (uint32_t i = 0; i < model_parameter_count(&plan->model); i++) {
		struct parameter parameter;
		model_parameter(&plan->model, i, &parameter);
		const struct safetensors_entry *entry = safetensors_find(file, parameter.name);
		if (entry == NULL)
			return error_set(error, ERROR_USAGE, "%s is not in the file", parameter.name);
		if (!same_shape(&parameter, entry))
			return refuse_shape(&parameter, entry, error);
	}
	return true;
}

// ---- Load

static void load_one(struct job *job, struct stage_session *session, uint32_t index, struct buffer_pool *pool)
{
	struct parameter parameter;
	model_parameter(&job->plan->model, index, &parameter);
	const struct safetensors *file = job->options.load;
	const struct safetensors_entry *entry = safetensors_find(file, parameter.name); // job_check_load saw it
	const uint8_t *values = (const uint8_t *)safetensors_data(file, entry);
	for (uint64_t offset = 0; offset < entry->size_bytes; offset += PROTOCOL_PARAMETER_CHUNK_BYTES) {
		uint64_t size = entry->size_bytes - offset;
		if (size > PROTOCOL_PARAMETER_CHUNK_BYTES)
			size = PROTOCOL_PARAMETER_CHUNK_BYTES;
		// Comes back when it is sent, and also when the call broke.
		struct buffer *chunk = buffer_pool_take(pool);
		memcpy(chunk->data, values + offset, size);
		stage_session_load(session, parameter.name, parameter.dimensions, parameter.rank, offset, chunk, size);
		buffer_unref(chunk);
	}
}

// Sends the stage's next parameter; false when it has them all.
static bool load_next(struct job *job, uint32_t stage, uint32_t *next, struct buffer_pool *pool)
{
	if (*next == model_first_parameter(&job->plan->model, job->plan->stages[stage].end_layer))
		return false;
	load_one(job, job->sessions[stage], (*next)++, pool);
	return true;
}

// All stages at once, each parameter when the stage has the one before. `next` is [stages].
static bool load_all(struct job *job, uint32_t *next, struct buffer_pool *pool, struct error *error)
{
	uint32_t loading = 0;
	for (uint32_t s = 0; s < job->stages; s++) {
		next[s] = model_first_parameter(&job->plan->model, job->plan->stages[s].first_layer);
		loading += load_next(job, s, &next[s], pool);
	}
	while (loading > 0) {
		struct stage_event *event = job_next_event(job, error);
		if (event == NULL)
			return false;
		bool ok = event->response->body_case == PENSTOCK__V1__SESSION_RESPONSE__BODY_LOADED ||
			  job_unexpected(job, event, error);
		if (ok)
			loading -= !load_next(job, event->stage, &next[event->stage], pool);
		stage_event_free(event);
		if (!ok)
			return false;
	}
	return true;
}

bool parameters_load(struct job *job, struct error *error)
{
	if (job->options.load == NULL)
		return true;
	uint32_t *next = calloc(job->stages, sizeof(*next));
	struct buffer_pool *pool = buffer_pool_create(PROTOCOL_PARAMETER_CHUNK_BYTES, LOAD_BUFFERS);
	bool ok = next != NULL && pool != NULL ? load_all(job, next, pool, error)
					       : error_set(error, ERROR_FAILED, "out of memory");
	free(next);
	buffer_pool_destroy(pool);
	return ok;
}

// ---- Save

static struct safetensors_entry *find_entry(struct job *job, const char *name, uint32_t *ret_index)
{
	for (uint32_t i = 0; i < job->entry_count; i++)
		if (strcmp(job->entries[i].name, name) == 0) {
			*ret_index = i;
			return &job->entries[i];
		}
	return NULL;
}

static void write_chunk(struct job *job, const Penstock__V1__SavedParameter *parameter,
			const struct rpc_incoming *incoming)
{
	uint32_t index;
	size_t size = rpc_incoming_payload_size(incoming);
	const struct safetensors_entry *entry = find_entry(job, parameter->name, &index);
	if (entry == NULL || parameter->offset_bytes > entry->size_bytes ||
	    size > entry->size_bytes - parameter->offset_bytes) {
		error_set(&job->save_error, ERROR_PROTOCOL, "a chunk of %.80s that has no place in the model",
			  parameter->name);
		return;
	}
	struct buffer *values = buffer_create(size);
	if (values == NULL) {
		error_set(&job->save_error, ERROR_FAILED, "out of memory");
		return;
	}
	rpc_incoming_copy_payload(incoming, values->data);
	safetensors_writer_put(job->writer, index, parameter->offset_bytes, values->data, size, &job->save_error);
	buffer_unref(values);
}

void parameters_saved(void *user, uint32_t stage, const Penstock__V1__SavedParameter *parameter,
		      const struct rpc_incoming *incoming)
{
	struct job *job = user;
	pthread_mutex_lock(&job->save_lock);
	if (job->writer != NULL && job->save_error.code == ERROR_NONE)
		write_chunk(job, parameter, incoming);
	pthread_mutex_unlock(&job->save_lock);
}

// The file and its space are claimed before the first step: a run that could not be saved is not begun.
bool parameters_prepare_save(struct job *job, struct error *error)
{
	if (job->options.save == NULL)
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
	if (!safetensors_writer_create(job->options.save, entries, count, &writer, error)) {
		free(entries);
		return error_wrap(error, "--save");
	}
	pthread_mutex_lock(&job->save_lock);
	job->entries = entries;
	job->entry_count = count;
	job->writer = writer;
	pthread_mutex_unlock(&job->save_lock);
	return true;
}

bool parameters_save(struct job *job, struct error *error)
{
	if (job->options.save == NULL)
		return true;
	for (uint32_t s = 0; s < job->stages; s++)
		stage_session_save(job->sessions[s]);
	bool ok = job_wait_for_all(job, PENSTOCK__V1__SESSION_RESPONSE__BODY_SAVED, NULL, error);
	pthread_mutex_lock(&job->save_lock);
	struct safetensors_writer *writer = job->writer;
	job->writer = NULL;
	if (ok && job->save_error.code != ERROR_NONE) {
		*error = job->save_error;
		ok = false;
	}
	pthread_mutex_unlock(&job->save_lock);
	if (ok)
		return safetensors_writer_finish(writer, error);
	safetensors_writer_abort(writer);
	return false;
}
