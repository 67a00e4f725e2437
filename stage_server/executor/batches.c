// See batches.h. Micro-batches are numbered over the whole run; number n waits in place n % capacity.
#include "stage_server/executor/batches.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

struct lane {
	struct buffer **places; // [capacity]
	uint64_t put, taken;    // numbers
};

struct batches {
	struct batches_options options;
	uint64_t capacity;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct lane lane[BATCH_KIND_COUNT];
	bool closed;
};

static const char *const kind_names[BATCH_KIND_COUNT] = {"images", "labels"};

uint64_t batches_bytes(const struct batches_options *options)
{
	return (options->bytes[BATCH_IMAGES] + options->bytes[BATCH_LABELS]) * options->micro_batches * options->steps;
}

bool batches_create(const struct batches_options *options, struct batches **ret_batches, struct error *error)
{
	struct batches *batches = calloc(1, sizeof(*batches));
	if (batches == NULL)
		return error_set(error, ERROR_FAILED, "no memory for the data's queue");
	batches->options = *options;
	batches->capacity = (uint64_t)options->micro_batches * options->steps;
	pthread_mutex_init(&batches->lock, NULL);
	pthread_cond_init(&batches->changed, NULL);
	for (int kind = 0; kind < BATCH_KIND_COUNT; kind++) {
		batches->lane[kind].places = calloc(batches->capacity, sizeof(struct buffer *));
		if (batches->lane[kind].places == NULL) {
			batches_destroy(batches);
			return error_set(error, ERROR_FAILED, "no memory for the data's queue");
		}
	}
	*ret_batches = batches;
	return true;
}

void batches_destroy(struct batches *batches)
{
	if (batches == NULL)
		return;
	for (int kind = 0; kind < BATCH_KIND_COUNT; kind++) {
		struct lane *lane = &batches->lane[kind];
		for (uint64_t n = lane->taken; n < lane->put; n++)
			buffer_unref(lane->places[n % batches->capacity]);
		free(lane->places);
	}
	pthread_cond_destroy(&batches->changed);
	pthread_mutex_destroy(&batches->lock);
	free(batches);
}

static bool check_labels(const struct batches *batches, const struct buffer *labels, struct error *error)
{
	for (size_t i = 0; i < labels->size; i++)
		if (labels->data[i] >= batches->options.classes)
			return error_set(error, ERROR_USAGE, "label %u of sample %zu: there are %u classes, from 0",
					 labels->data[i], i, batches->options.classes);
	return true;
}

static bool check(struct batches *batches, enum batch_kind kind, uint64_t step, uint32_t micro_batch, size_t size,
		  struct error *error)
{
	uint64_t bytes = batches->options.bytes[kind];
	if (bytes == 0)
		return error_set(error, ERROR_PROTOCOL, "%s came to a stage that takes none", kind_names[kind]);
	pthread_mutex_lock(&batches->lock);
	uint64_t number = batches->lane[kind].put;
	bool full = number - batches->lane[kind].taken == batches->capacity;
	pthread_mutex_unlock(&batches->lock);
	uint64_t expected_step = number / batches->options.micro_batches;
	uint64_t expected_micro_batch = number % batches->options.micro_batches;
	if (step != expected_step || micro_batch != expected_micro_batch || size != bytes)
		return error_set(error, ERROR_PROTOCOL,
				 "%s of step %" PRIu64 ", micro-batch %u, %zu bytes came, expected step %" PRIu64
				 ", micro-batch %" PRIu64 ", %" PRIu64 " bytes",
				 kind_names[kind], step, micro_batch, size, expected_step, expected_micro_batch, bytes);
	return !full || error_set(error, ERROR_PROTOCOL, "%s of more than %u steps came ahead", kind_names[kind],
				  batches->options.steps);
}

bool batches_put(struct batches *batches, enum batch_kind kind, uint64_t step, uint32_t micro_batch,
		 const struct rpc_incoming *incoming, struct error *error)
{
	size_t size = rpc_incoming_payload_size(incoming);
	if (!check(batches, kind, step, micro_batch, size, error))
		return false;
	struct buffer *buffer = buffer_create(size);
	if (buffer == NULL)
		return error_set(error, ERROR_FAILED, "no memory for %zu bytes of %s", size, kind_names[kind]);
	rpc_incoming_copy_payload(incoming, buffer->data);
	if (kind == BATCH_LABELS && !check_labels(batches, buffer, error)) {
		buffer_unref(buffer);
		return false;
	}
	pthread_mutex_lock(&batches->lock);
	struct lane *lane = &batches->lane[kind];
	lane->places[lane->put++ % batches->capacity] = buffer;
	pthread_cond_signal(&batches->changed);
	pthread_mutex_unlock(&batches->lock);
	return true;
}

struct buffer *batches_take(struct batches *batches, enum batch_kind kind)
{
	pthread_mutex_lock(&batches->lock);
	struct lane *lane = &batches->lane[kind];
	while (lane->taken == lane->put && !batches->closed)
		pthread_cond_wait(&batches->changed, &batches->lock);
	struct buffer *buffer = NULL;
	if (!batches->closed)
		buffer = lane->places[lane->taken++ % batches->capacity];
	pthread_mutex_unlock(&batches->lock);
	return buffer;
}

void batches_close(struct batches *batches)
{
	pthread_mutex_lock(&batches->lock);
	batches->closed = true;
	pthread_cond_broadcast(&batches->changed);
	pthread_mutex_unlock(&batches->lock);
}
