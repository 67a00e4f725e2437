// Users of each GPU's context, and its replacement after a fault. See context.h.
#include "stage_server/device/cuda/context.h"

#include <pthread.h>
#include <stdint.h>

#include "common/base/log.h"
#include "stage_server/device/cuda/status.h"

struct context {
	bool is_made;
	uint32_t users;
};

// Of the process, as the contexts are.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct context contexts[CONTEXT_MAXIMUM_GPUS];

// With CUDA 12 and later cudaSetDevice makes the context; a spoiled one says so at any call. A thread that waits for the GPU sleeps: CUDA's
// own choice is to spin where there are more processors than contexts, and an executor waits once or twice a step, for most of it,
// while the threads that move tensors want its processor. What it costs is a wake-up.
static bool open_context(int gpu, struct error *error)
{
	size_t free_bytes = 0, total_bytes = 0;
	bool ok = cuda_ok(cudaSetDevice(gpu), error, "use GPU %d", gpu) &&
		  cuda_ok(cudaSetDeviceFlags(cudaDeviceScheduleBlockingSync), error, "set the flags of GPU %d", gpu) &&
		  cuda_ok(cudaMemGetInfo(&free_bytes, &total_bytes), error, "query the memory of GPU %d", gpu);
	contexts[gpu].is_made |= ok;
	return ok;
}

// The reset is of the thread's GPU, so it must be this one: all that others have on another one would be gone.
static bool reset(int gpu, struct error *error)
{
	int current = -1;
	cuda_ok(cudaGetDevice(&current), NULL, "query the thread's GPU"); // may say the fault once more
	if (current != gpu)
		return error_set(error, ERROR_FAILED, "cannot select GPU %d in this thread", gpu);
	contexts[gpu].is_made = false;
	return cuda_ok(cudaDeviceReset(), error, "reset GPU %d", gpu);
}

static bool revive(int gpu, struct error *error)
{
	if (contexts[gpu].users > 0)
		return error_wrap(error, "GPU %d failed, and %u programs or buffers on it are not released yet", gpu,
				  contexts[gpu].users);
	struct error failure = {0}, before = *error;
	if (!reset(gpu, &failure))
		log_warning("%s", failure.message);
	if (!open_context(gpu, error))
		return error_wrap(error, "GPU %d failed and could not be reset; restart the daemon", gpu);
	log_warning("GPU %d failed (%s); it was reset and can be used again", gpu, before.message);
	return true;
}

bool context_acquire(int gpu, struct error *error)
{
	struct error why = {0};
	pthread_mutex_lock(&lock);
	// What cannot be made is no fault of a context: the GPU's memory may be full, or the GPU somebody else's.
	bool ok = open_context(gpu, &why) || (contexts[gpu].is_made && revive(gpu, &why));
	if (ok)
		contexts[gpu].users++;
	pthread_mutex_unlock(&lock);
	return ok || error_set(error, why.code, "%s", why.message);
}

void context_release(int gpu)
{
	pthread_mutex_lock(&lock);
	contexts[gpu].users--;
	pthread_mutex_unlock(&lock);
}

bool context_memory(int gpu, size_t *ret_free_bytes, size_t *ret_total_bytes)
{
	if (pthread_mutex_trylock(&lock) != 0)
		return false;
	bool ok = contexts[gpu].is_made && cuda_ok(cudaSetDevice(gpu), NULL, "use GPU %d", gpu) &&
		  cuda_ok(cudaMemGetInfo(ret_free_bytes, ret_total_bytes), NULL, "query the memory of GPU %d", gpu);
	pthread_mutex_unlock(&lock);
	return ok;
}
