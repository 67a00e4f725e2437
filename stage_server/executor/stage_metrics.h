// What a stage counts for the scrape. Any thread.
#pragma once

#include "common/metrics/phases.h"
#include "stage_server/exchange/link.h"
#include "stage_server/executor/stage_plan.h"

struct stage_metrics {
	struct metric *steps, *samples, *micro_batches;
	struct metric *phases[PHASE_COUNT]; // ns
	struct link_counters links[NEIGHBOUR_COUNT];
};

void stage_metrics_init(struct stage_metrics *stage, struct metrics *metrics, uint32_t pipeline_stage);
