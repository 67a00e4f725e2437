// See stage_events.h.
#include "coordinator/run/stage_events.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

struct stage_events {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct stage_event *first, **last;
};

struct stage_events *stage_events_create(void)
{
	struct stage_events *events = calloc(1, sizeof(*events));
	if (events == NULL)
		return NULL;
	clock_condition_init(&events->changed);
	pthread_mutex_init(&events->lock, NULL);
	events->last = &events->first;
	return events;
}

void stage_event_free(struct stage_event *event)
{
	if (event == NULL)
		return;
	wire_response_free(event->response);
	buffer_unref(event->payload);
	free(event);
}

void stage_events_destroy(struct stage_events *events)
{
	if (events == NULL)
		return;
	while (events->first != NULL) {
		struct stage_event *next = events->first->next;
		stage_event_free(events->first);
		events->first = next;
	}
	pthread_cond_destroy(&events->changed);
	pthread_mutex_destroy(&events->lock);
	free(events);
}

void stage_events_push(struct stage_events *events, const struct stage_event *event)
{
	struct stage_event *copy = malloc(sizeof(*copy));
	if (copy == NULL) { // the job could only hang without the event
		log_error("no memory for an event of %zu bytes", sizeof(*copy));
		abort();
	}
	*copy = *event;
	copy->next = NULL;
	pthread_mutex_lock(&events->lock);
	*events->last = copy;
	events->last = &copy->next;
	pthread_cond_signal(&events->changed);
	pthread_mutex_unlock(&events->lock);
}

struct stage_event *stage_events_take(struct stage_events *events, uint32_t limit_ms)
{
	struct timespec until = clock_after_ms(limit_ms);
	pthread_mutex_lock(&events->lock);
	while (events->first == NULL && pthread_cond_timedwait(&events->changed, &events->lock, &until) != ETIMEDOUT)
		;
	struct stage_event *event = events->first;
	if (event != NULL) {
		events->first = event->next;
		if (events->first == NULL)
			events->last = &events->first;
	}
	pthread_mutex_unlock(&events->lock);
	return event;
}
