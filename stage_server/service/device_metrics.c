// See device_metrics.h. What a device does not say has no series.
#include "stage_server/service/device_metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct metric_family reserved = {"penstock_memory_used_bytes", "Device memory reserved by sessions.",
					      METRIC_GAUGE, 1.0};
static const struct metric_family limit = {"penstock_memory_limit_bytes",
					   "Device memory that sessions may reserve together.", METRIC_GAUGE, 1.0};

// What device_sample holds, in its order.
enum reading { READING_USED, READING_FREE, READING_UTILISATION, READING_TEMPERATURE, READING_POWER, READING_COUNT };

static const struct metric_family readings[READING_COUNT] = {
	[READING_USED] = {"penstock_device_memory_used_bytes", "Device memory in use, by this and other programs.",
			  METRIC_GAUGE, 1.0},
	[READING_FREE] = {"penstock_device_memory_free_bytes", "Free device memory.", METRIC_GAUGE, 1.0},
	[READING_UTILISATION] = {"penstock_device_utilisation_ratio",
				 "Share of the most recent time in which the device computed.", METRIC_GAUGE, 1e-3},
	[READING_TEMPERATURE] = {"penstock_device_temperature_celsius", "Temperature of the device.", METRIC_GAUGE,
				 1.0},
	[READING_POWER] = {"penstock_device_power_watts", "Power that the device draws.", METRIC_GAUGE, 1e-3},
};

struct series {
	struct metric *reserved, *limit;
	struct metric *readings[READING_COUNT]; // NULL until the device says it
	char labels[64];
};

struct device_metrics {
	const struct devices *devices;
	struct metrics *metrics;
	struct series series[DEVICES_MAXIMUM]; // by slot; empty where the slot is not its device's first
};

struct device_metrics *device_metrics_create(const struct devices *devices, struct metrics *metrics)
{
	struct device_metrics *device_metrics = calloc(1, sizeof(*device_metrics));
	if (device_metrics == NULL)
		return NULL;
	device_metrics->devices = devices;
	device_metrics->metrics = metrics;
	for (uint32_t i = 0; i < devices_count(devices); i++) {
		struct series *series = &device_metrics->series[i];
		if (!devices_is_first(devices, i))
			continue;
		const struct device_slot *slot = devices_slot(devices, i);
		snprintf(series->labels, sizeof(series->labels), "device=\"%s\"", slot->name);
		series->reserved = metrics_series(metrics, &reserved, series->labels);
		series->limit = metrics_series(metrics, &limit, series->labels);
		metric_set(series->limit, ledger_limit_bytes(slot->ledger));
	}
	return device_metrics;
}

void device_metrics_destroy(struct device_metrics *device_metrics)
{
	free(device_metrics);
}

static void refresh(struct device_metrics *device_metrics, const struct device_slot *slot, struct series *series)
{
	struct device_sample sample;
	metric_set(series->reserved, ledger_used_bytes(slot->ledger));
	slot->ops->sample(slot->device, &sample);
	const double values[READING_COUNT] = {sample.memory_used_bytes, sample.memory_free_bytes, sample.utilisation,
					      sample.temperature_celsius, sample.power_watts};
	for (int i = 0; i < READING_COUNT; i++) {
		if (isnan(values[i]) || values[i] < 0)
			continue;
		if (series->readings[i] == NULL)
			series->readings[i] = metrics_series(device_metrics->metrics, &readings[i], series->labels);
		metric_set(series->readings[i], (uint64_t)(values[i] / readings[i].scale + 0.5));
	}
}

void device_metrics_refresh(struct device_metrics *device_metrics)
{
	for (uint32_t i = 0; i < devices_count(device_metrics->devices); i++)
		if (devices_is_first(device_metrics->devices, i))
			refresh(device_metrics, devices_slot(device_metrics->devices, i), &device_metrics->series[i]);
}
