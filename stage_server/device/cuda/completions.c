// A ring of events, and the thread that waits for them. See completions.h.
#include "stage_server/device/cuda/completions.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cuda/status.h"

struct entry {
	cudaEvent_t event; // made once, recorded again and again
	struct device_completion completion;
};

struct completions {
	int gpu;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct entry ring[COMPLETIONS_UNDER_WAY];
	uint64_t added, called; // entries [called, added) are under way, each at its number modulo the ring's length
	bool closing;
};

static void *wait_and_call(void *context)
{
	struct completions *c = context;
	cuda_ok(cudaSetDevice(c->gpu), NULL, "use the GPU");
	pthread_mutex_lock(&c->lock);
	for (;;) {
		while (c->called == c->added && !c->closing)
			pthread_cond_wait(&c->changed, &c->lock);
		if (c->called == c->added)
			break;
		struct entry entry = c->ring[c->called % COMPLETIONS_UNDER_WAY];
		pthread_mutex_unlock(&c->lock);
		// A device that failed says so at once, for this event and each that follows.
		bool ok = cuda_ok(cudaEventSynchronize(entry.event), NULL, "wait for a copy");
		entry.completion.call(entry.completion.user, ok);
		pthread_mutex_lock(&c->lock);
		c->called++;
		pthread_cond_broadcast(&c->changed);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

bool completions_create(int gpu, struct completions **ret_completions, struct error *error)
{
	struct completions *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	c->gpu = gpu;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	bool ok = true;
	for (int i = 0; i < COMPLETIONS_UNDER_WAY && ok; i++)
		ok = cuda_ok(
			cudaEventCreateWithFlags(&c->ring[i].event, cudaEventDisableTiming | cudaEventBlockingSync),
			error, "create an event");
	int failure = ok ? pthread_create(&c->thread, NULL, wait_and_call, c) : 0;
	if (failure != 0)
		ok = error_set(error, ERROR_FAILED, "create a thread: %s", strerror(failure));
	c->has_thread = ok;
	if (!ok) {
		completions_destroy(c);
		return false;
	}
	*ret_completions = c;
	return true;
}

void completions_destroy(struct completions *c)
{
	if (c == NULL)
		return;
	if (c->has_thread) {
		pthread_mutex_lock(&c->lock);
		c->closing = true;
		pthread_cond_broadcast(&c->changed);
		pthread_mutex_unlock(&c->lock);
		pthread_join(c->thread, NULL);
	}
	for (int i = 0; i < COMPLETIONS_UNDER_WAY; i++)
		if (c->ring[i].event != NULL)
			cuda_ok(cudaEventDestroy(c->ring[i].event), NULL, "destroy an event");
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

bool completions_add(struct completions *c, cudaStream_t stream, struct device_completion completion,
		     struct error *error)
{
	pthread_mutex_lock(&c->lock);
	while (c->added - c->called == COMPLETIONS_UNDER_WAY)
		pthread_cond_wait(&c->changed, &c->lock);
	struct entry *entry = &c->ring[c->added % COMPLETIONS_UNDER_WAY];
	pthread_mutex_unlock(&c->lock);
	// The entry is nobody else's: the thread looks at what lies before `added` only.
	entry->completion = completion;
	if (!cuda_ok(cudaEventRecord(entry->event, stream), error, "record an event"))
		return false;
	pthread_mutex_lock(&c->lock);
	c->added++;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return true;
}
