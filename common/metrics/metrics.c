// See metrics.h.
#include "common/metrics/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

static const uint64_t bounds_ns[] = {5 * MS,     10 * MS,     25 * MS,     50 * MS,    100 * MS,   250 * MS,
				     500 * MS,   1000 * MS,   2500 * MS,   5000 * MS,  10000 * MS, 25000 * MS,
				     50000 * MS, 100000 * MS, 250000 * MS, 500000 * MS};
enum { BOUNDS = sizeof(bounds_ns) / sizeof(bounds_ns[0]) };

struct metric {
	struct metric *next;
	const struct metric_family *family;
	char *labels;
	_Atomic(uint64_t) value;    // of METRIC_REAL a double's bits; of a histogram the sum
	_Atomic(uint64_t) *buckets; // [BOUNDS + 1], of a histogram; each counts what the ones before it did not
};

struct metrics {
	pthread_mutex_t lock;
	struct metric *first; // series of one family stand together, as the format demands
	struct metric spare;
};

struct metrics *metrics_create(void)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));
	if (metrics != NULL)
		pthread_mutex_init(&metrics->lock, NULL);
	return metrics;
}

void metrics_destroy(struct metrics *metrics)
{
	if (metrics == NULL)
		return;
	while (metrics->first != NULL) {
		struct metric *next = metrics->first->next;
		free(metrics->first->labels);
		free(metrics->first->buckets);
		free(metrics->first);
		metrics->first = next;
	}
	pthread_mutex_destroy(&metrics->lock);
	free(metrics);
}

static struct metric *find(struct metrics *metrics, const struct metric_family *family, const char *labels,
			   struct metric ***ret_place)
{
	struct metric **place = &metrics->first;
	bool in_family = false;
	for (; *place != NULL; place = &(*place)->next) {
		bool same = strcmp((*place)->family->name, family->name) == 0;
		if (same && strcmp((*place)->labels, labels) == 0)
			return *place;
		if (in_family && !same)
			break;
		in_family = same;
	}
	*ret_place = place;
	return NULL;
}

struct metric *metrics_series(struct metrics *metrics, const struct metric_family *family, const char *labels)
{
	struct metric **place = NULL;
	pthread_mutex_lock(&metrics->lock);
	struct metric *metric = find(metrics, family, labels, &place);
	if (metric == NULL) {
		metric = calloc(1, sizeof(*metric));
		char *copy = strdup(labels);
		bool has_buckets = family->kind == METRIC_HISTOGRAM;
		_Atomic(uint64_t) *buckets = has_buckets ? calloc(BOUNDS + 1, sizeof(*buckets)) : NULL;
		if (metric == NULL || copy == NULL || (has_buckets && buckets == NULL)) {
			free(metric);
			free(copy);
			free(buckets);
			metric = &metrics->spare;
		} else {
			metric->family = family;
			metric->labels = copy;
			metric->buckets = buckets;
			metric->next = *place;
			*place = metric;
		}
	}
	pthread_mutex_unlock(&metrics->lock);
	return metric;
}

void metric_add(struct metric *metric, uint64_t count)
{
	atomic_fetch_add_explicit(&metric->value, count, memory_order_relaxed);
}

void metric_set(struct metric *metric, uint64_t value)
{
	atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void metric_set_real(struct metric *metric, double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	metric_set(metric, bits);
}

void metric_observe(struct metric *metric, uint64_t ns)
{
	size_t i = 0;
	while (i < BOUNDS && ns > bounds_ns[i])
		i++;
	if (metric->buckets != NULL) // the spare has none
		atomic_fetch_add_explicit(&metric->buckets[i], 1, memory_order_relaxed);
	metric_add(metric, ns);
}

uint64_t metric_value(const struct metric *metric)
{
	return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

static void write_number(FILE *out, double value)
{
	if (isnan(value))
		fputs(" NaN\n", out);
	else if (isinf(value))
		fputs(value > 0 ? " +Inf\n" : " -Inf\n", out);
	else
		fprintf(out, " %.17g\n", value);
}

static void write_histogram(FILE *out, const struct metric *metric)
{
	const char *name = metric->family->name, *labels = metric->labels, *comma = labels[0] != '\0' ? "," : "";
	uint64_t count = 0;
	for (size_t i = 0; i <= BOUNDS; i++) {
		char bound[32] = "+Inf";
		if (i < BOUNDS)
			snprintf(bound, sizeof(bound), "%g", (double)bounds_ns[i] * 1e-9);
		count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
		fprintf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, labels, comma, bound, count);
	}
	const char *open = labels[0] != '\0' ? "{" : "", *close = labels[0] != '\0' ? "}" : "";
	fprintf(out, "%s_sum%s%s%s %.9f\n", name, open, labels, close, (double)metric_value(metric) * 1e-9);
	fprintf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, count);
}

static void write_series(FILE *out, const struct metric *metric)
{
	const struct metric_family *family = metric->family;
	uint64_t value = metric_value(metric);
	double real;
	if (family->kind == METRIC_HISTOGRAM) {
		write_histogram(out, metric);
		return;
	}
	fputs(family->name, out);
	if (metric->labels[0] != '\0')
		fprintf(out, "{%s}", metric->labels);
	memcpy(&real, &value, sizeof(real));
	if (family->kind == METRIC_REAL)
		write_number(out, real);
	else if (family->scale == 1.0)
		fprintf(out, " %" PRIu64 "\n", value);
	else
		fprintf(out, " %.9f\n", (double)value * family->scale);
}

static const char *type_name(enum metric_kind kind)
{
	switch (kind) {
	case METRIC_COUNTER:
		return "counter";
	case METRIC_HISTOGRAM:
		return "histogram";
	default:
		return "gauge";
	}
}

char *metrics_text(struct metrics *metrics)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (out == NULL)
		return NULL;
	pthread_mutex_lock(&metrics->lock);
	const struct metric_family *family = NULL;
	for (const struct metric *metric = metrics->first; metric != NULL; metric = metric->next) {
		if (family == NULL || strcmp(family->name, metric->family->name) != 0) {
			family = metric->family;
			fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
				type_name(family->kind));
		}
		write_series(out, metric);
	}
	pthread_mutex_unlock(&metrics->lock);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
