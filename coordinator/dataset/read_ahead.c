// Reading ahead. See read_ahead.h. The micro-batches of a run are numbered; a thread claims the next number as soon as its slot of the
// ring is free, and fills it without the lock.
#include "coordinator/dataset/read_ahead.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strings.h"

enum { MAXIMUM_THREADS = 16 };

struct slot {
	bool is_done;
	bool has_failed;
	struct buffer *buffers[DATASET_INPUTS];
	struct error error;
};

struct read_ahead {
	struct read_ahead_options options;
	uint32_t per_step; // micro-batches; slots too
	uint64_t total;    // micro-batches
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_stopping;
	bool has_failed;         // nothing more is claimed
	uint64_t claimed, taken; // micro-batches
	uint64_t step;           // whose samples `indices` has; UINT64_MAX: none yet
	uint64_t *indices;       // [samples of a step], replica after replica
	struct slot *slots;      // [per_step]
	pthread_t threads[MAXIMUM_THREADS];
	uint32_t thread_count;
};

// ---- The threads

// Under the lock. Copies the samples' numbers of micro-batch `number`.
static void copy_indices(struct read_ahead *ahead, uint64_t number, uint64_t *indices)
{
	const struct read_ahead_options *options = &ahead->options;
	uint64_t step = number / ahead->per_step, place = number % ahead->per_step;
	uint64_t micro_batch = place / options->replicas, replica = place % options->replicas;
	if (ahead->step != step)
		sampler_batch(options->sampler, step, ahead->indices);
	ahead->step = step;
	memcpy(indices, ahead->indices + (replica * options->micro_batches + micro_batch) * options->micro_batch_size,
	       options->micro_batch_size * sizeof(*indices));
}

static bool read_samples(const struct read_ahead_options *options, const uint64_t *indices, struct slot *slot)
{
	void *into[DATASET_INPUTS];
	for (int i = 0; i < DATASET_INPUTS; i++) {
		uint64_t bytes = dataset_tensor_bytes(dataset_tensor(options->dataset, i));
		slot->buffers[i] = buffer_create(options->micro_batch_size * bytes);
		if (slot->buffers[i] == NULL)
			return error_set(&slot->error, ERROR_FAILED, "no memory for a micro-batch");
		into[i] = slot->buffers[i]->data;
	}
	return dataset_read(options->dataset, indices, options->micro_batch_size, into, &slot->error);
}

static bool may_claim(const struct read_ahead *ahead)
{
	return !ahead->has_failed && ahead->claimed < ahead->total && ahead->claimed - ahead->taken < ahead->per_step;
}

static void *run(void *user)
{
	struct read_ahead *ahead = user;
	_cleanup_free_ uint64_t *indices = malloc(ahead->options.micro_batch_size * sizeof(*indices));
	pthread_mutex_lock(&ahead->lock);
	for (;;) {
		while (!ahead->is_stopping && !may_claim(ahead))
			pthread_cond_wait(&ahead->changed, &ahead->lock);
		if (ahead->is_stopping)
			break;
		uint64_t number = ahead->claimed++;
		struct slot *slot = &ahead->slots[number % ahead->per_step];
		if (indices != NULL)
			copy_indices(ahead, number, indices);
		pthread_mutex_unlock(&ahead->lock);
		bool ok = indices != NULL ? read_samples(&ahead->options, indices, slot)
					  : error_set(&slot->error, ERROR_FAILED, "out of memory");
		pthread_mutex_lock(&ahead->lock);
		slot->is_done = true;
		slot->has_failed = !ok;
		ahead->has_failed |= !ok;
		pthread_cond_broadcast(&ahead->changed);
	}
	pthread_mutex_unlock(&ahead->lock);
	return NULL;
}

// ---- From start to stop

static void release(struct slot *slot)
{
	for (int i = 0; i < DATASET_INPUTS; i++)
		buffer_unref(slot->buffers[i]);
	*slot = (struct slot){0};
}

static bool start_threads(struct read_ahead *ahead, struct error *error)
{
	uint32_t wanted = dataset_threads(ahead->options.dataset);
	for (uint32_t i = 0; i < wanted && i < MAXIMUM_THREADS; i++) {
		int code = pthread_create(&ahead->threads[i], NULL, run, ahead);
		if (code != 0 && i == 0)
			return error_set(error, ERROR_FAILED, "start a thread that reads the dataset: %s",
					 strerror(code));
		if (code != 0) // fewer do as well
			break;
		ahead->thread_count++;
	}
	return true;
}

bool read_ahead_start(const struct read_ahead_options *options, struct read_ahead **ret_ahead, struct error *error)
{
	struct read_ahead *ahead = calloc(1, sizeof(*ahead));
	if (ahead == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	ahead->options = *options;
	ahead->per_step = options->micro_batches * options->replicas;
	ahead->total = options->steps * ahead->per_step;
	ahead->step = UINT64_MAX;
	pthread_mutex_init(&ahead->lock, NULL);
	clock_condition_init(&ahead->changed);
	ahead->indices = calloc((size_t)ahead->per_step * options->micro_batch_size, sizeof(*ahead->indices));
	ahead->slots = calloc(ahead->per_step, sizeof(*ahead->slots));
	bool ok = (ahead->indices != NULL && ahead->slots != NULL) || error_set(error, ERROR_FAILED, "out of memory");
	if (!ok || !start_threads(ahead, error)) {
		read_ahead_stop(ahead);
		return false;
	}
	*ret_ahead = ahead;
	return true;
}

void read_ahead_stop(struct read_ahead *ahead)
{
	if (ahead == NULL)
		return;
	pthread_mutex_lock(&ahead->lock);
	ahead->is_stopping = true;
	pthread_cond_broadcast(&ahead->changed);
	pthread_mutex_unlock(&ahead->lock);
	for (uint32_t i = 0; i < ahead->thread_count; i++)
		pthread_join(ahead->threads[i], NULL);
	for (uint32_t i = 0; ahead->slots != NULL && i < ahead->per_step; i++)
		release(&ahead->slots[i]);
	pthread_cond_destroy(&ahead->changed);
	pthread_mutex_destroy(&ahead->lock);
	free(ahead->indices);
	free(ahead->slots);
	free(ahead);
}

// ---- Taking

static struct slot *next_slot(struct read_ahead *ahead)
{
	return &ahead->slots[ahead->taken % ahead->per_step];
}

static bool is_ready(const struct read_ahead *ahead)
{
	for (uint32_t i = 0; i < ahead->per_step; i++) {
		const struct slot *slot = &ahead->slots[(ahead->taken + i) % ahead->per_step];
		if (!slot->is_done)
			return false;
		if (slot->has_failed)
			return true;
	}
	return true;
}

bool read_ahead_wait(struct read_ahead *ahead, uint32_t limit_ms)
{
	struct timespec until = clock_after_ms(limit_ms);
	pthread_mutex_lock(&ahead->lock);
	while (!is_ready(ahead) && limit_ms > 0 &&
	       pthread_cond_timedwait(&ahead->changed, &ahead->lock, &until) != ETIMEDOUT)
		;
	bool ready = is_ready(ahead);
	pthread_mutex_unlock(&ahead->lock);
	return ready;
}

bool read_ahead_take(struct read_ahead *ahead, struct buffer *ret_buffers[DATASET_INPUTS], struct error *error)
{
	pthread_mutex_lock(&ahead->lock);
	struct slot *slot = next_slot(ahead);
	while (!slot->is_done)
		pthread_cond_wait(&ahead->changed, &ahead->lock);
	bool ok = !slot->has_failed;
	if (ok) {
		memcpy(ret_buffers, slot->buffers, sizeof(slot->buffers));
		*slot = (struct slot){0};
		ahead->taken++;
		pthread_cond_broadcast(&ahead->changed);
	} else if (error != NULL) {
		*error = slot->error;
	}
	pthread_mutex_unlock(&ahead->lock);
	return ok;
}
