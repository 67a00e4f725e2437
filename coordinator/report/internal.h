// What report.c (collecting), lines.c (for people) and json.c (for programs) share.
#pragma once

#include "coordinator/report/report.h"

struct rank_totals {                                                      // of the measured steps
	double copy, forward, backward, optimizer;                        // seconds
	double wait_previous, wait_next, wait_replicas, wait_coordinator; // seconds
	uint64_t sent_bytes, received_bytes;
};

struct report {
	struct report_options options;
	uint32_t ranks;
	FILE *json;
	int json_errno;             // of the first line that could not be written; 0: none
	bool is_terminal;           // stderr
	struct job_memory *memory;  // [ranks]
	struct rank_totals *totals; // [ranks]
	uint64_t steps_done, measured_steps;
	uint32_t warm_up_steps;
	double measured_seconds, all_seconds;
	double window_seconds; // since the last printed line
	uint64_t window_steps;
	uint64_t shown_ns; // when progress was last shown
	double first_loss, last_loss, last_accuracy;
	uint64_t skipped_steps;
	double last_loss_scale; // of the step after the last; 0: the loss is not scaled
};

double totals_busy(const struct rank_totals *totals);
double report_throughput(const struct report *report); // samples per second, without warm-up
double step_accuracy(const struct report *report, const struct job_step *step);
// Share of the measured time in which the rank neither computed nor copied: it waited, for whomever.
double report_bubble(const struct report *report, uint32_t rank);

// lines.c
void lines_progress(struct report *report, const struct job_step *step);
void lines_warn_stuck(struct report *report, const struct job_step *step); // skipped, and the loss scale cannot fall
void lines_print(struct report *report, const struct job_step *step);
void lines_table(const struct report *report);

// json.c: one object a line
void json_plan(struct report *report);
void json_step(struct report *report, const struct job_step *step);
void json_summary(struct report *report, const struct error *error);
