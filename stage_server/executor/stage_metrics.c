// See stage_metrics.h. Names and units follow Prometheus's rules.
#include "stage_server/executor/stage_metrics.h"

#include <stdio.h>

static const struct metric_family steps = {"penstock_steps_total", "Optimizer steps done.", METRIC_COUNTER, 1.0};
static const struct metric_family samples = {"penstock_samples_total", "Samples trained on.", METRIC_COUNTER, 1.0};
static const struct metric_family micro_batches = {
	"penstock_micro_batches_total", "Micro-batches that completed forward and backward.", METRIC_COUNTER, 1.0};
static const struct metric_family busy = {"penstock_busy_seconds_total", "Time the stage computed or copied, by phase.",
					  METRIC_COUNTER, 1e-9};
static const struct metric_family waiting = {"penstock_waiting_seconds_total",
					     "Time the stage waited, by the peer it waited for.", METRIC_COUNTER, 1e-9};
static const struct metric_family sent_bytes = {
	"penstock_sent_bytes_total", "Tensor bytes sent to a neighbouring stage or replica.", METRIC_COUNTER, 1.0};
static const struct metric_family sent_messages = {"penstock_sent_messages_total",
						   "Tensor messages sent to a neighbouring stage or replica.",
						   METRIC_COUNTER, 1.0};
static const struct metric_family received_bytes = {"penstock_received_bytes_total",
						    "Tensor bytes received from a neighbouring stage or replica.",
						    METRIC_COUNTER, 1.0};
static const struct metric_family received_messages = {"penstock_received_messages_total",
						       "Tensor messages received from a neighbouring stage or replica.",
						       METRIC_COUNTER, 1.0};

static const struct metric_family receiving_seconds = {
	"penstock_link_receiving_seconds_total",
	"Time from a received tensor's first chunk to its last: with the bytes of that time, the link's rate.",
	METRIC_COUNTER, 1e-9};
static const struct metric_family receiving_bytes = {"penstock_link_receiving_bytes_total",
						     "Tensor bytes received after their tensor's first chunk.",
						     METRIC_COUNTER, 1.0};

static struct metric *series(struct metrics *metrics, const struct metric_family *family, uint32_t pipeline_stage,
			     const char *key, const char *value)
{
	char labels[128];
	if (key == NULL)
		snprintf(labels, sizeof(labels), "pipeline_stage=\"%u\"", pipeline_stage);
	else
		snprintf(labels, sizeof(labels), "pipeline_stage=\"%u\",%s=\"%s\"", pipeline_stage, key, value);
	return metrics_series(metrics, family, labels);
}

void stage_metrics_init(struct stage_metrics *stage, struct metrics *metrics, uint32_t pipeline_stage)
{
	static const char *const directions[NEIGHBOUR_COUNT] = {"previous", "next", "previous_replica", "next_replica"};
	stage->steps = series(metrics, &steps, pipeline_stage, NULL, NULL);
	stage->samples = series(metrics, &samples, pipeline_stage, NULL, NULL);
	stage->micro_batches = series(metrics, &micro_batches, pipeline_stage, NULL, NULL);
	phases_series(metrics, &busy, &waiting, pipeline_stage, stage->phases);
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		stage->links[side] = (struct link_counters){
			.sent_bytes = series(metrics, &sent_bytes, pipeline_stage, "direction", directions[side]),
			.sent_messages = series(metrics, &sent_messages, pipeline_stage, "direction", directions[side]),
			.received_bytes =
				series(metrics, &received_bytes, pipeline_stage, "direction", directions[side]),
			.received_messages =
				series(metrics, &received_messages, pipeline_stage, "direction", directions[side]),
			.receiving_ns =
				series(metrics, &receiving_seconds, pipeline_stage, "direction", directions[side]),
			.receiving_bytes =
				series(metrics, &receiving_bytes, pipeline_stage, "direction", directions[side]),
		};
}
