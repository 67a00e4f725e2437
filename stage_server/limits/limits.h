// The daemon's limits by name: each hit is counted, in penstock_limit_hits_total, and logged, at most once in ten seconds
// a limit. What a limit does is with whoever enforces it; docs/limits.md has them all.
// Any thread.
#pragma once

#include "common/metrics/metrics.h"

enum limit {
	LIMIT_SESSIONS,
	LIMIT_CONNECTIONS,
	LIMIT_DESCRIPTORS, // the system has none left for a connection
	LIMIT_STREAMS,
	LIMIT_MESSAGE_SIZE,
	LIMIT_METADATA_SIZE,
	LIMIT_BUFFERED,
	LIMIT_IDLE_TIMEOUT,
	LIMIT_HANDSHAKE_TIMEOUT,
	LIMIT_CALLS,
	LIMIT_WATCHERS,
	LIMIT_EXCHANGES, // that wait to be opened
	LIMIT_SCRAPES,
	LIMIT_COUNT,
};

struct limits;

struct limits *limits_create(struct metrics *metrics); // NULL when memory is out
void limits_destroy(struct limits *limits);            // takes NULL
// `format`: what was refused, and what the limit is.
void limits_hit(struct limits *limits, enum limit limit, const char *format, ...) __attribute__((format(printf, 3, 4)));
