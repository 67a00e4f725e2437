// The job in numbers for Prometheus: what its stages did, summed over replicas, and how it goes. docs/metrics.md lists them.
// One thread, the job's; the scrape has its own.
#pragma once

#include "coordinator/plan/plan.h"
#include "coordinator/run/job.h"

struct job_metrics;

// In the order in which a job goes through them.
enum job_state {
	JOB_STATE_OPENING,   // daemons are asked to take their stages
	JOB_STATE_PREPARING, // all have: parameters are loaded, stages and replicas linked
	JOB_STATE_RUNNING,   // steps were ordered
	JOB_STATE_ENDING,    // all are done: parameters are saved, sessions closed
	JOB_STATE_COUNT,
};

struct job_metrics_options {
	const char *address; // where they are served
	const struct plan *plan;
	uint64_t steps;
	uint32_t train_batch_size;
};

// Serves them from here on. Borrows `options->plan`.
bool job_metrics_create(const struct job_metrics_options *options, struct job_metrics **ret_metrics,
			struct error *error);
void job_metrics_destroy(struct job_metrics *metrics); // takes NULL
// The rest does nothing with NULL.
void job_metrics_state(struct job_metrics *metrics, enum job_state state);
void job_metrics_memory(struct job_metrics *metrics, uint32_t rank, uint64_t bytes);
void job_metrics_step(struct job_metrics *metrics, const struct job_step *step);
