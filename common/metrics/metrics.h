// Counters, gauges and histograms, and their text in Prometheus's exposition format 0.0.4. Series are found by name and labels when
// somebody begins to count, and then added to without a lock.
// Any thread.
#pragma once

#include <stdint.h>

struct metrics; // all series of a process
struct metric;  // one series; lives as long as its metrics

enum metric_kind {
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_REAL,      // a gauge that is set by metric_set_real, and has no scale
	METRIC_HISTOGRAM, // of nanoseconds, with bounds from 5 ms to 500 s
};

// What is counted is an integer; `scale` makes it the unit of the name: 1e-9 for nanoseconds in "..._seconds_total".
struct metric_family {
	const char *name;
	const char *help;
	enum metric_kind kind;
	double scale;
};

struct metrics *metrics_create(void);          // NULL when memory is out
void metrics_destroy(struct metrics *metrics); // takes NULL
// `labels` as they are written: "pipeline_stage=\"0\",direction=\"next\"", "" for none. The same name and labels give the
// same series. `family` is kept: it must outlive the metrics. Never NULL: when memory is out, a series that nobody sees.
struct metric *metrics_series(struct metrics *metrics, const struct metric_family *family, const char *labels);
void metric_add(struct metric *metric, uint64_t count); // a counter
void metric_set(struct metric *metric, uint64_t value); // a gauge
void metric_set_real(struct metric *metric, double value);
void metric_observe(struct metric *metric, uint64_t ns); // a histogram
uint64_t metric_value(const struct metric *metric);      // of a counter or a gauge; of a histogram the sum
char *metrics_text(struct metrics *metrics);             // returns owned; NULL when memory is out
