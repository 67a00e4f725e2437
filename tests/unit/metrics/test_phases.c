// Where a step's time goes, by the names that the wire, the scrape and JSON have for it.
#include "tests/unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "common/metrics/phases.h"
#include "penstock/v1/stage_server.pb-c.h"

static const uint64_t numbers[PHASE_COUNT] = {
	[PHASE_FORWARD] = 1,       [PHASE_BACKWARD] = 2,  [PHASE_OPTIMIZER] = 3,     [PHASE_COPY] = 4,
	[PHASE_WAIT_PREVIOUS] = 5, [PHASE_WAIT_NEXT] = 6, [PHASE_WAIT_REPLICAS] = 7, [PHASE_WAIT_COORDINATOR] = 8,
};

static void write_of_a_report_fills_each_field(void **state)
{
	Penstock__V1__StepReport report = PENSTOCK__V1__STEP_REPORT__INIT;
	PHASES_WRITE(&report, numbers);
	assert_int_equal(report.forward_ns, 1);
	assert_int_equal(report.backward_ns, 2);
	assert_int_equal(report.optimizer_ns, 3);
	assert_int_equal(report.copy_ns, 4);
	assert_int_equal(report.wait_previous_ns, 5);
	assert_int_equal(report.wait_next_ns, 6);
	assert_int_equal(report.wait_replicas_ns, 7);
	assert_int_equal(report.wait_coordinator_ns, 8);
}

static void read_of_counters_gives_what_was_written(void **state)
{
	Penstock__V1__StageCounters counters = PENSTOCK__V1__STAGE_COUNTERS__INIT;
	uint64_t ns[PHASE_COUNT] = {0};
	PHASES_WRITE(&counters, numbers);
	PHASES_READ(&counters, ns);
	assert_memory_equal(ns, numbers, sizeof(ns));
}

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
		cmocka_unit_test(write_of_a_report_fills_each_field),
		cmocka_unit_test(read_of_counters_gives_what_was_written),
		cmocka_unit_test(seconds_name_is_the_documented_key),
		cmocka_unit_test(series_are_busy_by_phase_and_waiting_by_whom),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
