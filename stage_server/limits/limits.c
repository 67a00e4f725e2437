// See limits.h.
#include "stage_server/limits/limits.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/log_rate.h"
#include "common/base/strings.h"

static const struct metric_family hits_family = {"penstock_limit_hits_total",
						 "Times that a limit was reached, by limit.", METRIC_COUNTER, 1.0};
static const char *const names[LIMIT_COUNT] = {
	[LIMIT_SESSIONS] = "sessions",
	[LIMIT_CONNECTIONS] = "connections",
	[LIMIT_DESCRIPTORS] = "descriptors",
	[LIMIT_STREAMS] = "streams",
	[LIMIT_MESSAGE_SIZE] = "message_size",
	[LIMIT_METADATA_SIZE] = "metadata_size",
	[LIMIT_BUFFERED] = "buffered",
	[LIMIT_IDLE_TIMEOUT] = "idle_timeout",
	[LIMIT_HANDSHAKE_TIMEOUT] = "handshake_timeout",
	[LIMIT_CALLS] = "calls",
	[LIMIT_WATCHERS] = "watchers",
	[LIMIT_EXCHANGES] = "exchanges",
	[LIMIT_SCRAPES] = "scrapes",
};

struct limits {
	struct metric *hits[LIMIT_COUNT];
	struct log_rate lines[LIMIT_COUNT];
};

struct limits *limits_create(struct metrics *metrics)
{
	struct limits *limits = calloc(1, sizeof(*limits));
	if (limits == NULL)
		return NULL;
	for (int i = 0; i < LIMIT_COUNT; i++) { // all from the beginning, so that a rate can be taken of the first hit
		char labels[64];
		snprintf(labels, sizeof(labels), "limit=\"%s\"", names[i]);
		limits->hits[i] = metrics_series(metrics, &hits_family, labels);
	}
	return limits;
}

void limits_destroy(struct limits *limits)
{
	free(limits);
}

void limits_hit(struct limits *limits, enum limit limit, const char *format, ...)
{
	metric_add(limits->hits[limit], 1);
	uint64_t unlogged;
	if (!log_rate_allows(&limits->lines[limit], clock_now_ns(), &unlogged))
		return;
	char what[256];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	if (unlogged > 0)
		log_warning("limit %s: %s (and %" PRIu64 " time%s since the last line about it)", names[limit], what,
			    unlogged, strings_plural(unlogged));
	else
		log_warning("limit %s: %s", names[limit], what);
}
