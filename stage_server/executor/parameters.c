// A stage's parameters, on the executor's thread: drawn from the seed, loaded as they come, and saved.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/protocol.h"
#include "stage_server/executor/internal.h"

enum { SAVE_BUFFERS = 4 }; // chunks of a saved parameter that may be on their way at once

bool executor_draw_parameters(struct executor *executor, uint64_t *ret_count, struct error *error)
{
	const struct model *model = &executor->plan->model;
	uint32_t end = model_first_parameter(model, executor->plan->end_layer);
	*ret_count = 0;
	for (uint32_t i = model_first_parameter(model, executor->plan->first_layer); i < end; i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		float *values = malloc(parameter.count * sizeof(float));
		if (values == NULL)
			return error_set(error, ERROR_OUT_OF_MEMORY, "draw %s: no memory for %" PRIu64 " values",
					 parameter.name, parameter.count);
		model_draw_parameter(model, &parameter, executor->plan->seed, values);
		bool ok = executor->ops->write_parameter(executor->program, i, values, error);
		free(values);
		*ret_count += parameter.count;
		if (!ok)
			return error_wrap(error, "draw %s", parameter.name);
		if (atomic_load(&executor->stopped))
			return error_set(error, ERROR_CANCELLED, "stopped");
	}
	return true;
}

bool executor_load_parameter(struct executor *executor, const struct order *order, struct error *error)
{
	struct parameter parameter;
	model_parameter(&executor->plan->model, order->parameter, &parameter);
	if (!executor->ops->write_parameter(executor->program, order->parameter, order->values, error))
		return error_wrap(error, "load %s", parameter.name);
	pthread_mutex_lock(&executor->lock);
	executor->load_is_waiting = false;
	pthread_mutex_unlock(&executor->lock);
	executor->options.events->loaded(executor->options.user, &parameter);
	return true;
}

static bool save_one(struct executor *executor, uint32_t index, struct buffer_pool *pool, struct error *error)
{
	struct parameter parameter;
	model_parameter(&executor->plan->model, index, &parameter);
	uint64_t total = parameter.count * sizeof(float);
	float *values = malloc(total);
	if (values == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "save %s: no memory for %" PRIu64 " bytes", parameter.name,
				 total);
	bool ok = executor->ops->read_parameter(executor->program, index, values, error);
	for (uint64_t offset = 0; ok && offset < total; offset += PROTOCOL_PARAMETER_CHUNK_BYTES) {
		uint64_t size = total - offset;
		if (size > PROTOCOL_PARAMETER_CHUNK_BYTES)
			size = PROTOCOL_PARAMETER_CHUNK_BYTES;
		// Waits until the network took an earlier chunk, so that no queue grows.
		struct buffer *chunk = buffer_pool_take(pool);
		ok = chunk != NULL || error_set(error, ERROR_CANCELLED, "stopped");
		if (!ok)
			break;
		memcpy(chunk->data, (uint8_t *)values + offset, size);
		executor->options.events->saved_parameter(executor->options.user, &parameter, chunk, offset, size);
		buffer_unref(chunk);
	}
	free(values);
	return ok;
}

bool executor_save_parameters(struct executor *executor, struct error *error)
{
	const struct model *model = &executor->plan->model;
	uint32_t first = model_first_parameter(model, executor->plan->first_layer);
	uint32_t end = model_first_parameter(model, executor->plan->end_layer);
	struct buffer_pool *pool = buffer_pool_create(PROTOCOL_PARAMETER_CHUNK_BYTES, SAVE_BUFFERS, NULL);
	if (pool == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "save: no memory for %d chunks", SAVE_BUFFERS);
	pthread_mutex_lock(&executor->lock);
	executor->save_pool = pool;
	if (atomic_load(&executor->stopped))
		buffer_pool_close(pool);
	pthread_mutex_unlock(&executor->lock);
	bool ok = true;
	for (uint32_t i = first; i < end && ok; i++)
		ok = save_one(executor, i, pool, error);
	pthread_mutex_lock(&executor->lock);
	executor->save_pool = NULL;
	executor->save_is_waiting = false;
	pthread_mutex_unlock(&executor->lock);
	buffer_pool_destroy(pool);
	if (ok)
		executor->options.events->saved(executor->options.user, end - first);
	return ok;
}
