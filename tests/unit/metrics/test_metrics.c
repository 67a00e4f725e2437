// The text format of each kind, and series that are found again.
#include "tests/unit/cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/metrics/metrics.h"

static const struct metric_family bytes = {"penstock_test_bytes_total", "Bytes.", METRIC_COUNTER, 1.0};
static const struct metric_family seconds = {"penstock_test_seconds_total", "Time.", METRIC_COUNTER, 1e-9};
static const struct metric_family sessions = {"penstock_test_sessions", "Now.", METRIC_GAUGE, 1.0};

static void metrics_text_groups_series_by_family(void **state)
{
	struct metrics *metrics = metrics_create();
	metric_add(metrics_series(metrics, &bytes, "direction=\"next\""), 5);
	metric_add(metrics_series(metrics, &seconds, ""), 1500000000);
	metric_add(metrics_series(metrics, &bytes, "direction=\"previous\""), 7);
	metric_set(metrics_series(metrics, &sessions, ""), 3);
	metric_set(metrics_series(metrics, &sessions, ""), 2);
	char *text = metrics_text(metrics);
	assert_string_equal(text, "# HELP penstock_test_bytes_total Bytes.\n"
				  "# TYPE penstock_test_bytes_total counter\n"
				  "penstock_test_bytes_total{direction=\"next\"} 5\n"
				  "penstock_test_bytes_total{direction=\"previous\"} 7\n"
				  "# HELP penstock_test_seconds_total Time.\n"
				  "# TYPE penstock_test_seconds_total counter\n"
				  "penstock_test_seconds_total 1.500000000\n"
				  "# HELP penstock_test_sessions Now.\n"
				  "# TYPE penstock_test_sessions gauge\n"
				  "penstock_test_sessions 2\n");
	free(text);
	metrics_destroy(metrics);
}

// A histogram's buckets add up, as the format demands; what lies on a bound belongs to it.
static void metrics_text_histogram_counts_up_to_each_bound(void **state)
{
	static const struct metric_family steps = {"penstock_test_step_seconds", "Steps.", METRIC_HISTOGRAM, 1e-9};
	struct metrics *metrics = metrics_create();
	struct metric *metric = metrics_series(metrics, &steps, "kind=\"x\"");
	metric_observe(metric, 5000000);
	metric_observe(metric, 5000001);
	metric_observe(metric, 1500000000);
	metric_observe(metric, 501000000000);
	char *text = metrics_text(metrics);
	const char *const expected[] = {
		"# TYPE penstock_test_step_seconds "
		"histogram\npenstock_test_step_seconds_bucket{kind=\"x\",le=\"0.005\"} 1\n",
		"penstock_test_step_seconds_bucket{kind=\"x\",le=\"0.01\"} 2\n",
		"penstock_test_step_seconds_bucket{kind=\"x\",le=\"1\"} 2\n",
		"penstock_test_step_seconds_bucket{kind=\"x\",le=\"2.5\"} 3\n",
		"penstock_test_step_seconds_bucket{kind=\"x\",le=\"500\"} 3\n",
		"penstock_test_step_seconds_bucket{kind=\"x\",le=\"+Inf\"} 4\n",
		"penstock_test_step_seconds_sum{kind=\"x\"} "
		"502.510000001\npenstock_test_step_seconds_count{kind=\"x\"} 4\n",
	};
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		if (strstr(text, expected[i]) == NULL)
			fail_msg("%s is not in\n%s", expected[i], text);
	free(text);
	metrics_destroy(metrics);
}

static void metric_set_real_any_double_is_written(void **state)
{
	static const struct metric_family loss = {"penstock_test_loss", "Loss.", METRIC_REAL, 1.0};
	static const struct {
		double value;
		const char *text;
	} cases[] = {{2.5, " 2.5\n"},
		     {-1e-9, " -1.0000000000000001e-09\n"},
		     {NAN, " NaN\n"},
		     {INFINITY, " +Inf\n"},
		     {-INFINITY, " -Inf\n"}};
	struct metrics *metrics = metrics_create();
	struct metric *metric = metrics_series(metrics, &loss, "");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		metric_set_real(metric, cases[i].value);
		char *text = metrics_text(metrics);
		assert_string_equal(strrchr(text, ' '), cases[i].text);
		free(text);
	}
	metrics_destroy(metrics);
}

static void metrics_series_same_name_and_labels_is_the_same_series(void **state)
{
	struct metrics *metrics = metrics_create();
	struct metric *first = metrics_series(metrics, &bytes, "direction=\"next\"");
	assert_ptr_equal(first, metrics_series(metrics, &bytes, "direction=\"next\""));
	assert_ptr_not_equal(first, metrics_series(metrics, &bytes, ""));
	metric_add(first, 2);
	metric_add(first, 3);
	assert_int_equal(metric_value(first), 5);
	metrics_destroy(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metrics_text_groups_series_by_family),
		cmocka_unit_test(metrics_text_histogram_counts_up_to_each_bound),
		cmocka_unit_test(metric_set_real_any_double_is_written),
		cmocka_unit_test(metrics_series_same_name_and_labels_is_the_same_series),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
