// Users of each GPU's context, and its replacement after a fault. See context.h.
#include "stage_server/device/cuda/context.h"

#include <pthread.h>
#include <stdint.h>

#include "common/base/log.h"
#include "stage_server/device/cuda/status.h"

// Of the process, as the contexts are.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t users[CONTEXT_MAXIMUM_GPUS];

static bool ask(int gpu, size_t *ret_free_bytes, size_t *ret_total_bytes, struct error *error)
{
	return cuda_ok(cudaSetDevice(gpu), error, "use GPU %d", gpu) &&
	       cuda_ok(cudaMemGetInfo(ret_free_bytes, ret_total_bytes), error, "ask GPU %d for its memory", gpu);
}

static bool probe(int gpu, struct error *error)
{
	size_t free_bytes = 0, total_bytes = 0;
	return ask(gpu, &free_bytes, &total_bytes, error);
}

static bool revive(int gpu, struct error *error)
{
	if (users[gpu] > 0)
		return error_wrap(error, "GPU %d failed, and %u programs or buffers on it are not gone yet", gpu,
				  users[gpu]);
	struct error reset = {0};
	if (!cuda_ok(cudaDeviceReset(), &reset, "reset GPU %d", gpu))
		log_warning("%s", reset.message);
	struct error before = *error;
	if (!probe(gpu, error))
		return error_wrap(error, "GPU %d failed and does not come back; restart the daemon", gpu);
	log_warning("GPU %d failed (%s); it has a new context and serves on", gpu, before.message);
	return true;
}

bool context_acquire(int gpu, struct error *error)
{
	struct error why = {0};
	pthread_mutex_lock(&lock);
	bool ok = probe(gpu, &why) || revive(gpu, &why);
	if (ok)
		users[gpu]++;
	pthread_mutex_unlock(&lock);
	return ok || error_set(error, why.code, "%s", why.message);
}

void context_release(int gpu)
{
	pthread_mutex_lock(&lock);
	users[gpu]--;
	pthread_mutex_unlock(&lock);
}

bool context_memory(int gpu, size_t *ret_free_bytes, size_t *ret_total_bytes)
{
	pthread_mutex_lock(&lock);
	bool ok = ask(gpu, ret_free_bytes, ret_total_bytes, NULL);
	pthread_mutex_unlock(&lock);
	return ok;
}
