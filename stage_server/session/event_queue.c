// See event_queue.h. uv_async_send may fold several wake-ups into one, so a wake-up empties the queue.
#include "stage_server/session/event_queue.h"

#include <pthread.h>
#include <stdlib.h>

struct event_queue {
	uv_async_t wake;
	pthread_mutex_t lock;
	struct event *first, **last;
	bool closed;
};

void event_queue_run(struct event_queue *queue)
{
	for (;;) {
		pthread_mutex_lock(&queue->lock);
		struct event *event = queue->first;
		queue->first = NULL;
		queue->last = &queue->first;
		pthread_mutex_unlock(&queue->lock);
		if (event == NULL)
			return;
		while (event != NULL) {
			struct event *next = event->next;
			event->handler(event);
			event = next;
		}
	}
}

static void on_wake(uv_async_t *wake)
{
	event_queue_run(wake->data);
}

struct event_queue *event_queue_create(uv_loop_t *loop)
{
	struct event_queue *queue = calloc(1, sizeof(*queue));
	if (queue == NULL)
		return NULL;
	if (uv_async_init(loop, &queue->wake, on_wake) != 0) {
		free(queue);
		return NULL;
	}
	queue->wake.data = queue;
	queue->last = &queue->first;
	pthread_mutex_init(&queue->lock, NULL);
	return queue;
}

void event_queue_post(struct event_queue *queue, struct event *event)
{
	event->next = NULL;
	pthread_mutex_lock(&queue->lock);
	*queue->last = event;
	queue->last = &event->next;
	// Inside the lock: the handle must not be closed between the look and the call.
	if (!queue->closed)
		uv_async_send(&queue->wake);
	pthread_mutex_unlock(&queue->lock);
}

void event_queue_close(struct event_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->closed = true;
	uv_close((uv_handle_t *)&queue->wake, NULL);
	pthread_mutex_unlock(&queue->lock);
}

void event_queue_destroy(struct event_queue *queue)
{
	if (queue == NULL)
		return;
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}
