// See phases.h.
#include "common/metrics/phases.h"

#include <stdbool.h>
#include <stdio.h>

#define SECONDS(NAME, name, ...) [PHASE_##NAME] = #name "_seconds",
#define NAME(NAME, name, ...)    [PHASE_##NAME] = #name,

static const char *const names[PHASE_COUNT] = {PHASES(NAME, )};
static const char *const seconds_names[PHASE_COUNT] = {PHASES(SECONDS, )};

const char *phase_seconds_name(enum phase phase)
{
	return seconds_names[phase];
}

void phases_series(struct metrics *metrics, const struct metric_family *busy, const struct metric_family *waiting,
		   uint32_t pipeline_stage, struct metric *ret_series[PHASE_COUNT])
{
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
		char labels[96];
		bool waits = phase >= PHASE_FIRST_WAIT;
		const char *value = waits ? names[phase] + sizeof("wait_") - 1 : names[phase];
		snprintf(labels, sizeof(labels), "pipeline_stage=\"%u\",%s=\"%s\"", pipeline_stage,
			 waits ? "on" : "phase", value);
		ret_series[phase] = metrics_series(metrics, waits ? waiting : busy, labels);
	}
}
