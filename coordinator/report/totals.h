// Sums over the steps of a job: its rate, and the time that each rank spent in each phase. Warm-up steps count only in
// steps_done and all_seconds. One thread.
#pragma once

#include "common/base/error.h"
#include "coordinator/run/job.h"

struct rank_totals { // of the measured steps
	double seconds[PHASE_COUNT];
	uint64_t sent_bytes, received_bytes;
};

struct totals {
	uint32_t ranks;
	uint32_t train_batch_size, warm_up_steps;
	struct rank_totals *rank;    // [ranks]
	struct stage_memory *memory; // [ranks]; what each reserved
	uint64_t steps_done, measured_steps;
	double measured_seconds, all_seconds;
};

bool totals_init(uint32_t ranks, uint32_t train_batch_size, uint32_t warm_up_steps, struct totals *ret_totals,
		 struct error *error);
void totals_fini(struct totals *totals);
void totals_memory(struct totals *totals, uint32_t rank, const struct stage_memory *memory);
void totals_step(struct totals *totals, const struct job_step *step);

// The share of the step's samples whose largest score is their label.
double totals_accuracy(const struct totals *totals, const struct job_step *step);
double totals_throughput(const struct totals *totals);          // samples per second; 0 before any step was measured
double totals_busy(const struct totals *totals, uint32_t rank); // seconds of computing and copying
// Share of the measured time in which the rank neither computed nor copied.
double totals_bubble(const struct totals *totals, uint32_t rank);
uint64_t totals_memory_bytes(const struct totals *totals, uint32_t rank); // reserved, all kinds together
