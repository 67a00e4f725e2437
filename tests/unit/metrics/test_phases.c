// Where a step's time goes, by the names that the scrape and JSON have for it.
#include "tests/unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "common/metrics/phases.h"

static const uint64_t numbers[PHASE_COUNT] = {
	[PHASE_FORWARD] = 1,       [PHASE_BACKWARD] = 2,  [PHASE_OPTIMIZER] = 3,     [PHASE_COPY] = 4,
	[PHASE_WAIT_PREVIOUS] = 5, [PHASE_WAIT_NEXT] = 6, [PHASE_WAIT_REPLICAS] = 7, [PHASE_WAIT_COORDINATOR] = 8,
};

static void seconds_name_is_the_documented_key(void **state)
{
	static const char *const names[PHASE_COUNT] = {
		"forward_seconds",       "backward_seconds",  "optimizer_seconds",     "copy_seconds",
		"wait_previous_seconds", "wait_next_seconds", "wait_replicas_seconds", "wait_coordinator_seconds",
	};
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
		assert_string_equal(phase_seconds_name(phase), names[phase]);
}

static void series_are_busy_by_phase_and_waiting_by_whom(void **state)
{
	static const struct metric_family busy = {"busy", "Busy.", METRIC_COUNTER, 1.0};
	static const struct metric_family waiting = {"waiting", "Waiting.", METRIC_COUNTER, 1.0};
	static const char *const lines[] = {
		"busy{pipeline_stage=\"3\",phase=\"forward\"} 1\n",
		"busy{pipeline_stage=\"3\",phase=\"backward\"} 2\n",
		"busy{pipeline_stage=\"3\",phase=\"optimizer\"} 3\n",
		"busy{pipeline_stage=\"3\",phase=\"copy\"} 4\n",
		"waiting{pipeline_stage=\"3\",on=\"previous\"} 5\n",
		"waiting{pipeline_stage=\"3\",on=\"next\"} 6\n",
		"waiting{pipeline_stage=\"3\",on=\"replicas\"} 7\n",
		"waiting{pipeline_stage=\"3\",on=\"coordinator\"} 8\n",
	};
	struct metrics *metrics = metrics_create();
	struct metric *series[PHASE_COUNT];
	phases_series(metrics, &busy, &waiting, 3, series);
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
		metric_add(series[phase], numbers[phase]);
	char *text = metrics_text(metrics);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (strstr(text, lines[i]) == NULL)
			fail_msg("%s is not in\n%s", lines[i], text);
	free(text);
	metrics_destroy(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seconds_name_is_the_documented_key),
		cmocka_unit_test(series_are_busy_by_phase_and_waiting_by_whom),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
