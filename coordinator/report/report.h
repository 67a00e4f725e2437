// What a job shows: progress and DeepSpeed's line while it runs, a table per rank at its end, JSON lines for programs, and
// metrics for Prometheus. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/error.h"
#include "coordinator/plan/plan.h"
#include "coordinator/report/json_output.h"
#include "coordinator/run/job.h"

enum { REPORT_WARM_UP_STEPS = 2 }; // not part of the throughput, where there are more steps than that

struct report_options {
	const struct plan *plan;
	const char *const *addresses; // [ranks]
	const uint32_t *devices;      // [ranks]
	uint64_t steps;
	uint32_t train_batch_size;
	uint32_t steps_per_print;   // 0: never
	bool wall_clock_breakdown;  // per rank, with each printed line
	struct json_output *json;   // borrowed; NULL: none
	const char *metrics_listen; // address where the job's metrics are served; NULL: nowhere
};

struct report;

enum { REPORT_MACHINES_SIZE = 2048 };
// Of machines that differ: that they do, and which they are. Returns `into`.
const char *report_machines(const struct plan *plan, const char *const *addresses, const struct job_numerics *numerics,
			    char *into, size_t size);

bool report_create(const struct report_options *options, struct report **ret_report, struct error *error);
void report_plan(struct report *report);                                                     // the plan object
void report_memory(struct report *report, uint32_t rank, const struct stage_memory *memory); // what a rank reserved
void report_numerics(struct report *report, const struct job_numerics *numerics); // which kernels the job uses
void report_start(struct report *report);
void report_step(struct report *report, const struct job_step *step);
// The table and the summary object; `error` NULL when the job was done.
void report_finish(struct report *report, const struct error *error);
void report_destroy(struct report *report); // takes NULL
