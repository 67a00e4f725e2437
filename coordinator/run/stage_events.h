// What the ranks of a job say, in one queue. Any thread pushes; the job's takes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/wire/response.h"

struct stage_event {
	struct stage_event *next;
	uint32_t rank;
	struct wire_response *response; // owned; NULL: the stream is over, or what came was no response
	struct buffer *payload;         // of a SavedParameter; owned. stage_session_resume when it is dealt with
	struct error error;             // why it is over
	bool was_heard;                 // of a stream that is over: something had come over it
};

struct stage_events;

struct stage_events *stage_events_create(void);         // NULL when memory is out
void stage_events_destroy(struct stage_events *events); // takes NULL; when no session is left
// Copies the event, and takes what it owns.
void stage_events_push(struct stage_events *events, const struct stage_event *event);
// Waits until an event or the time limit comes; NULL at the limit. Returns owned.
struct stage_event *stage_events_take(struct stage_events *events, uint32_t limit_ms);
void stage_event_free(struct stage_event *event); // takes NULL
