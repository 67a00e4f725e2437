// When something is shown. See report.h.
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "coordinator/report/internal.h"
#include "coordinator/report/terminal.h"

bool report_create(const struct report_options *options, struct report **ret_report, struct error *error)
{
	struct report *report = calloc(1, sizeof(*report));
	if (report == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	report->options = *options;
	report->ranks = plan_rank_count(options->plan);
	report->is_terminal = terminal_obeys(STDERR_FILENO);
	bool ok = totals_init(report->ranks, options->train_batch_size,
			      options->steps > REPORT_WARM_UP_STEPS ? REPORT_WARM_UP_STEPS : 0, &report->totals, error);
	if (ok && options->metrics_listen != NULL) {
		struct job_metrics_options metrics = {.address = options->metrics_listen,
						      .plan = options->plan,
						      .steps = options->steps,
						      .train_batch_size = options->train_batch_size};
		ok = job_metrics_create(&metrics, &report->metrics, error);
	}
	if (!ok) {
		report_destroy(report);
		return false;
	}
	*ret_report = report;
	return true;
}

void report_destroy(struct report *report)
{
	if (report == NULL)
		return;
	job_metrics_destroy(report->metrics);
	totals_fini(&report->totals);
	free(report);
}

void report_plan(struct report *report)
{
	json_plan(report);
}

void report_memory(struct report *report, uint32_t rank, const struct stage_memory *memory)
{
	totals_memory(&report->totals, rank, memory);
	job_metrics_memory(report->metrics, rank, totals_memory_bytes(&report->totals, rank));
	if (++report->opened < report->ranks)
		return;
	job_metrics_state(report->metrics, JOB_STATE_PREPARING);
	if (report->options.json != NULL)
		json_output_begin(report->options.json); // all daemons have answered
}

void report_numerics(struct report *report, const struct job_numerics *numerics)
{
	char text[REPORT_MACHINES_SIZE];
	if (numerics->machines_differ)
		log_warning("%s", report_machines(report->options.plan, report->options.addresses, numerics, text,
						  sizeof(text)));
	json_numerics(report, numerics);
}

void report_start(struct report *report)
{
	report->shown_ns = clock_now_ns();
	job_metrics_state(report->metrics, JOB_STATE_RUNNING);
}

void report_step(struct report *report, const struct job_step *step)
{
	if (report->totals.steps_done == 0)
		report->first_loss = step->loss;
	totals_step(&report->totals, step);
	report->window_seconds += step->seconds;
	report->window_steps++;
	report->last_loss = step->loss;
	report->last_accuracy = totals_accuracy(&report->totals, step);
	report->last_loss_scale = step->next_loss_scale;
	report->skipped_steps += step->skipped;
	job_metrics_step(report->metrics, step);
	if (report->totals.steps_done == report->options.steps)
		job_metrics_state(report->metrics, JOB_STATE_ENDING);
	bool diverges = step->diverged && !report->has_diverged;
	if (diverges) {
		report->has_diverged = true;
		report->diverged_step = step->step;
	}
	json_step(report, step);
	lines_progress(report, step);
	if (diverges)
		lines_warn_diverged(report, step);
	if (step->stuck == 1)
		lines_warn_stuck(report, step);
	if (report->options.steps_per_print > 0 && report->totals.steps_done % report->options.steps_per_print == 0)
		lines_print(report, step);
}

void report_finish(struct report *report, const struct error *error)
{
	if (report->is_terminal && report->totals.steps_done > 0)
		progress_clear();
	if (report->totals.steps_done > 0)
		lines_table(report);
	json_summary(report, error);
}
