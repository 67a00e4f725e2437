// See metrics.h.
#include "common/metrics/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct metric {
	struct metric *next;
	const struct metric_family *family;
	char *labels;
	_Atomic(uint64_t) value;
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
		if (metric == NULL || copy == NULL) {
			free(metric);
			free(copy);
			metric = &metrics->spare;
		} else {
			metric->family = family;
			metric->labels = copy;
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

uint64_t metric_value(const struct metric *metric)
{
	return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

static void write_series(FILE *out, const struct metric *metric)
{
	fputs(metric->family->name, out);
	if (metric->labels[0] != '\0')
		fprintf(out, "{%s}", metric->labels);
	uint64_t value = metric_value(metric);
	if (metric->family->scale == 1.0)
		fprintf(out, " %llu\n", (unsigned long long)value);
	else
		fprintf(out, " %.9f\n", (double)value * metric->family->scale);
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
				family->kind == METRIC_COUNTER ? "counter" : "gauge");
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
