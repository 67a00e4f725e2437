// The text format, and series that are found again.
#include "tests/unit/cmocka_all.h"

#include <stdlib.h>

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
		cmocka_unit_test(metrics_series_same_name_and_labels_is_the_same_series),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
