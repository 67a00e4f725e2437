// Collects what the ranks report. See report.h.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "coordinator/report/internal.h"

double totals_busy(const struct rank_totals *totals)
{
	return totals->copy + totals->forward + totals->backward + totals->optimizer;
}

double report_throughput(const struct report *report)
{
	if (report->measured_seconds <= 0.0)
		return 0.0;
	return (double)report->measured_steps * report->options.train_batch_size / report->measured_seconds;
}

double step_accuracy(const struct report *report, const struct job_step *step)
{
	return (double)step->correct / report->options.train_batch_size;
}

double report_bubble(const struct report *report, uint32_t rank)
{
	if (report->measured_seconds <= 0.0)
		return 0.0;
	double share = 1.0 - totals_busy(&report->totals[rank]) / report->measured_seconds;
	return share > 0.0 ? share : 0.0;
}

bool report_create(const struct report_options *options, struct report **ret_report, struct error *error)
{
	struct report *report = calloc(1, sizeof(*report));
	if (report == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	report->options = *options;
	report->ranks = plan_rank_count(options->plan);
	report->is_terminal = isatty(STDERR_FILENO) == 1;
	report->warm_up_steps = options->steps > REPORT_WARM_UP_STEPS ? REPORT_WARM_UP_STEPS : 0;
	report->totals = calloc(report->ranks, sizeof(*report->totals));
	report->memory = calloc(report->ranks, sizeof(*report->memory));
	bool ok = (report->totals != NULL && report->memory != NULL) || error_set(error, ERROR_FAILED, "out of memory");
	if (ok && options->json_path != NULL) {
		report->json = fopen(options->json_path, "we");
		ok = report->json != NULL ||
		     error_set(error, ERROR_USAGE, "--json %s: %s", options->json_path, strerror(errno));
	}
	if (!ok) {
		report_destroy(report, NULL);
		return false;
	}
	*ret_report = report;
	return true;
}

bool report_destroy(struct report *report, struct error *error)
{
	bool ok = true;
	if (report == NULL)
		return true;
	if (report->json != NULL) {
		ok = fclose(report->json) == 0 && report->json_errno == 0;
		if (!ok)
			error_set(error, ERROR_FAILED, "--json %s: could not be written whole: %s",
				  report->options.json_path,
				  strerror(report->json_errno != 0 ? report->json_errno : errno));
	}
	free(report->totals);
	free(report->memory);
	free(report);
	return ok;
}

void report_plan(struct report *report)
{
	json_plan(report);
}

void report_memory(struct report *report, uint32_t rank, const struct job_memory *memory)
{
	report->memory[rank] = *memory;
}

void report_start(struct report *report)
{
	report->shown_ns = clock_now_ns();
}

static void add_rank(struct rank_totals *totals, const struct job_rank_step *step)
{
	totals->copy += (double)step->copy_ns * 1e-9;
	totals->forward += (double)step->forward_ns * 1e-9;
	totals->backward += (double)step->backward_ns * 1e-9;
	totals->optimizer += (double)step->optimizer_ns * 1e-9;
	totals->wait_previous += (double)step->wait_previous_ns * 1e-9;
	totals->wait_next += (double)step->wait_next_ns * 1e-9;
	totals->wait_replicas += (double)step->wait_replicas_ns * 1e-9;
	totals->wait_coordinator += (double)step->wait_coordinator_ns * 1e-9;
	totals->sent_bytes += step->sent_bytes;
	totals->received_bytes += step->received_bytes;
}

void report_step(struct report *report, const struct job_step *step)
{
	if (report->steps_done == 0)
		report->first_loss = step->loss;
	report->steps_done++;
	report->all_seconds += step->seconds;
	report->window_seconds += step->seconds;
	report->window_steps++;
	report->last_loss = step->loss;
	report->last_accuracy = step_accuracy(report, step);
	report->last_loss_scale = step->next_loss_scale;
	report->skipped_steps += step->skipped;
	if (step->step >= report->warm_up_steps) {
		report->measured_steps++;
		report->measured_seconds += step->seconds;
		for (uint32_t r = 0; r < report->ranks; r++)
			add_rank(&report->totals[r], &step->ranks[r]);
	}
	json_step(report, step);
	lines_progress(report, step);
	if (step->stuck == 1)
		lines_warn_stuck(report, step);
	if (report->options.steps_per_print > 0 && report->steps_done % report->options.steps_per_print == 0)
		lines_print(report, step);
}

void report_finish(struct report *report, const struct error *error)
{
	if (report->is_terminal && report->steps_done > 0)
		fputs("\r\033[K", stderr);
	if (report->steps_done > 0)
		lines_table(report);
	json_summary(report, error);
}
