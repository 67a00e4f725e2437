// What the daemon's devices say of themselves to a scrape: one series a device and family. The loop's thread.
#pragma once

#include "common/metrics/metrics.h"
#include "stage_server/session/devices.h"

struct device_metrics;

struct device_metrics *device_metrics_create(const struct devices *devices, struct metrics *metrics); // NULL: no memory
void device_metrics_destroy(struct device_metrics *device_metrics);                                   // takes NULL
void device_metrics_refresh(struct device_metrics *device_metrics);                                   // before a scrape
