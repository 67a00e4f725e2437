// See batches.h. Micro-batches are numbered over the whole run; number n waits in place n % capacity.
#include "stage_server/executor/batches.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct lane {
	uint8_t *places;               // [capacity][place_bytes]
	uint64_t put, taken, released; // numbers
};

struct batches {
	struct batches_options options;
	struct buffer_memory memory;
	uint64_t capacity;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct lane lane[BATCH_KIND_COUNT];
	bool closed;
};

static const char *const kind_names[BATCH_KIND_COUNT] = {"images", "labels"};

enum { PLACE_ALIGNMENT = 64 };

static uint64_t place_bytes(const struct batches_options *options, enum batch_kind kind)
{
	return (options->bytes[kind] + PLACE_ALIGNMENT - 1) / PLACE_ALIGNMENT * PLACE_ALIGNMENT;
}

uint64_t batches_bytes(const struct batches_options *options)
{
	return (place_bytes(options, BATCH_IMAGES) + place_bytes(options, BATCH_LABELS)) * options->micro_batches *
	       options->steps;
}

static uint8_t *place_of(const struct batches *batches, enum batch_kind kind, uint64_t number)
{
	return batches->lane[kind].places + number % batches->capacity * place_bytes(&batches->options, kind);
}

bool batches_create(const struct batches_options *options, struct batches **ret_batches, struct error *error)
{
	struct batches *batches = calloc(1, sizeof(*batches));
	if (batches == NULL)
		return error_set(error, ERROR_FAILED, "no memory for the queue of batches");
	batches->options = *options;
	batches->capacity = (uint64_t)options->micro_batches * options->steps;
	pthread_mutex_init(&batches->lock, NULL);
	pthread_cond_init(&batches->changed, NULL);
	*ret_batches = batches;
	return true;
}

bool batches_allocate(struct batches *batches, const struct buffer_memory *memory, struct error *error)
{
	batches->memory = *memory;
	for (enum batch_kind kind = 0; kind < BATCH_KIND_COUNT; kind++) {
		uint64_t bytes = place_bytes(&batches->options, kind) * batches->capacity;
		if (bytes == 0)
			continue;
		uint8_t *places = memory->allocate(memory->user, bytes);
		if (places == NULL)
			return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for %" PRIu64 " bytes of %s", bytes,
					 kind_names[kind]);
		memset(places, 0, bytes); // touched now, not inside a step
		batches->lane[kind].places = places;
	}
	return true;
}

void batches_destroy(struct batches *batches)
{
	if (batches == NULL)
		return;
	for (int kind = 0; kind < BATCH_KIND_COUNT; kind++)
		if (batches->lane[kind].places != NULL)
			batches->memory.release(batches->memory.user, batches->lane[kind].places);
	pthread_cond_destroy(&batches->changed);
	pthread_mutex_destroy(&batches->lock);
	free(batches);
}

static bool check_labels(const struct batches *batches, uint64_t step, uint32_t micro_batch, const uint8_t *labels,
			 size_t count, struct error *error)
{
	for (size_t i = 0; i < count; i++)
		if (labels[i] >= batches->options.classes)
			return error_set(error, ERROR_USAGE,
					 "labels of step %" PRIu64
					 ", micro-batch %u: label %u of sample %zu: there are %u classes, from 0",
					 step, micro_batch, labels[i], i, batches->options.classes);
	return true;
}

static bool check(struct batches *batches, enum batch_kind kind, uint64_t step, uint32_t micro_batch, size_t size,
		  struct error *error)
{
	uint64_t bytes = batches->options.bytes[kind];
	if (bytes == 0)
		return error_set(error, ERROR_PROTOCOL, "%s came to a stage that needs none", kind_names[kind]);
	pthread_mutex_lock(&batches->lock);
	uint64_t number = batches->lane[kind].put;
	bool full = number - batches->lane[kind].released == batches->capacity;
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
	struct lane *lane = &batches->lane[kind];
	uint8_t *place = place_of(batches, kind, lane->put); // free, and `put` is this thread's alone
	rpc_incoming_copy_payload(incoming, place);
	if (kind == BATCH_LABELS && !check_labels(batches, step, micro_batch, place, size, error))
		return false;
	pthread_mutex_lock(&batches->lock);
	lane->put++;
	pthread_cond_signal(&batches->changed);
	pthread_mutex_unlock(&batches->lock);
	return true;
}

const uint8_t *batches_take(struct batches *batches, enum batch_kind kind)
{
	pthread_mutex_lock(&batches->lock);
	struct lane *lane = &batches->lane[kind];
	while (lane->taken == lane->put && !batches->closed)
		pthread_cond_wait(&batches->changed, &batches->lock);
	const uint8_t *place = batches->closed ? NULL : place_of(batches, kind, lane->taken++);
	pthread_mutex_unlock(&batches->lock);
	return place;
}

void batches_release(struct batches *batches, enum batch_kind kind)
{
	pthread_mutex_lock(&batches->lock);
	batches->lane[kind].released++;
	pthread_mutex_unlock(&batches->lock);
}

void batches_close(struct batches *batches)
{
	pthread_mutex_lock(&batches->lock);
	batches->closed = true;
	pthread_cond_broadcast(&batches->changed);
	pthread_mutex_unlock(&batches->lock);
}
