// Shared by report.c (when something is shown), lines.c (text for people) and json.c (JSON for programs). report.c calls the others.
#pragma once

#include "coordinator/report/job_metrics.h"
#include "coordinator/report/report.h"
#include "coordinator/report/totals.h"

struct report {
	struct report_options options;
	uint32_t ranks;
	bool is_terminal; // stderr is a terminal that understands escape sequences
	struct totals totals;
	struct job_metrics *metrics; // NULL: without --metrics-listen
	uint32_t opened;             // ranks
	double window_seconds;       // since the last printed line
	uint64_t window_steps;
	uint64_t shown_ns; // when progress was last shown
	double first_loss, last_loss, last_accuracy;
	uint64_t skipped_steps;
	bool has_diverged;
	uint64_t diverged_step; // the first one
	double last_loss_scale; // of the step after the last; 0: the loss is not scaled
};

// lines.c
void lines_progress(struct report *report, const struct job_step *step);
// The step was skipped, and the loss scale cannot fall.
void lines_warn_stuck(struct report *report, const struct job_step *step);
void lines_warn_diverged(struct report *report, const struct job_step *step);
void lines_print(struct report *report, const struct job_step *step);
void lines_table(const struct report *report);

// json.c: one object a line
void json_plan(struct report *report);
void json_numerics(struct report *report, const struct job_numerics *numerics);
void json_step(struct report *report, const struct job_step *step);
void json_summary(struct report *report, const struct error *error);
