// How other threads hand work to the libuv loop's thread: what is posted runs there, in order.
#pragma once

#include <stdbool.h>
#include <uv.h>

struct event_queue;

struct event_queue *event_queue_create(uv_loop_t *loop); // loop's thread; NULL when memory is out
// Any thread; never blocks. Each post is embedded in its owner's memory: `handler` may free it.
struct event {
	struct event *next;
	void (*handler)(struct event *event);
};
void event_queue_post(struct event_queue *queue, struct event *event);
void event_queue_run(struct event_queue *queue);     // loop's thread: handles what was posted, without the loop
void event_queue_close(struct event_queue *queue);   // loop's thread; the loop must run once more
void event_queue_destroy(struct event_queue *queue); // after that; takes NULL
