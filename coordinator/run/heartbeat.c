// See heartbeat.h.
#include "coordinator/run/heartbeat.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"

struct heartbeat {
	struct stage_session *const *sessions;
	uint32_t count;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stopped;
};

// False when it was stopped meanwhile.
static bool sleep_a_beat(struct heartbeat *heartbeat)
{
	struct timespec until = clock_after_ms(PROTOCOL_HEARTBEAT_MS);
	pthread_mutex_lock(&heartbeat->lock);
	while (!heartbeat->stopped &&
	       pthread_cond_timedwait(&heartbeat->changed, &heartbeat->lock, &until) != ETIMEDOUT)
		;
	bool stopped = heartbeat->stopped;
	pthread_mutex_unlock(&heartbeat->lock);
	return !stopped;
}

static void *heartbeat_thread(void *argument)
{
	struct heartbeat *heartbeat = argument;
	while (sleep_a_beat(heartbeat))
		for (uint32_t i = 0; i < heartbeat->count; i++)
			stage_session_heartbeat(heartbeat->sessions[i]);
	return NULL;
}

bool heartbeat_start(struct stage_session *const *sessions, uint32_t count, struct heartbeat **ret_heartbeat,
		     struct error *error)
{
	struct heartbeat *heartbeat = calloc(1, sizeof(*heartbeat));
	if (heartbeat == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	heartbeat->sessions = sessions;
	heartbeat->count = count;
	pthread_mutex_init(&heartbeat->lock, NULL);
	clock_condition_init(&heartbeat->changed);
	int status = pthread_create(&heartbeat->thread, NULL, heartbeat_thread, heartbeat);
	if (status != 0) {
		pthread_cond_destroy(&heartbeat->changed);
		pthread_mutex_destroy(&heartbeat->lock);
		free(heartbeat);
		return error_set(error, ERROR_FAILED, "start a thread for heartbeats: %s", strerror(status));
	}
	*ret_heartbeat = heartbeat;
	return true;
}

void heartbeat_stop(struct heartbeat *heartbeat)
{
	if (heartbeat == NULL)
		return;
	pthread_mutex_lock(&heartbeat->lock);
	heartbeat->stopped = true;
	pthread_cond_signal(&heartbeat->changed);
	pthread_mutex_unlock(&heartbeat->lock);
	pthread_join(heartbeat->thread, NULL);
	pthread_cond_destroy(&heartbeat->changed);
	pthread_mutex_destroy(&heartbeat->lock);
	free(heartbeat);
}
