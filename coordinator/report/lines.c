// Lines for people. Progress goes to stderr: one line that rewrites itself on a terminal, a plain line a second
// otherwise. Results go to stdout.
#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "coordinator/report/internal.h"
#include "coordinator/run/loss_scaler.h"

enum { TERMINAL_INTERVAL_MS = 100, PLAIN_INTERVAL_MS = 1000 };

void lines_progress(struct report *report, const struct job_step *step)
{
	uint64_t now = clock_now_ns();
	bool last = report->totals.steps_done == report->options.steps;
	uint64_t interval_ms = report->is_terminal ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS;
	if (!last && !step->skipped && report->totals.steps_done > 1 &&
	    (now - report->shown_ns) / 1000000 < interval_ms)
		return;
	report->shown_ns = now;
	double rate = totals_throughput(&report->totals);
	if (rate <= 0.0)
		rate = report->options.train_batch_size / step->seconds;
	double left =
		(double)(report->options.steps - report->totals.steps_done) * report->options.train_batch_size / rate;
	uint64_t seconds = (uint64_t)(left + 0.5);
	char line[240], skipped[80] = "";
	if (step->skipped)
		snprintf(skipped, sizeof(skipped), "  skipped: overflow at loss scale %.10g, next %.10g",
			 step->loss_scale, step->next_loss_scale);
	snprintf(line, sizeof(line),
		 "step %" PRIu64 "/%" PRIu64 "  loss %.4f  accuracy %.1f%%  %.1f samples/s  %" PRIu64 ":%02" PRIu64
		 " left%s",
		 report->totals.steps_done, report->options.steps, step->loss, 100.0 * step_accuracy(report, step),
		 rate, seconds / 60, seconds % 60, skipped);
	if (report->is_terminal)
		fprintf(stderr, "\r\033[K%s", line);
	else
		fprintf(stderr, "%s\n", line);
	fflush(stderr);
}

void lines_warn_stuck(struct report *report, const struct job_step *step)
{
	if (report->is_terminal)
		fputs("\r\033[K", stderr);
	log_warning("step %" PRIu64
		    " was skipped: a gradient overflowed, and the loss scale, %.10g, cannot fall; after %d such "
		    "steps in a row the job ends",
		    step->step, step->loss_scale, LOSS_SCALER_PATIENCE);
}

// The line that DeepSpeed's engine prints, in its words; the times are means since the one before.
void lines_print(struct report *report, const struct job_step *step)
{
	double seconds = report->window_seconds / (double)report->window_steps;
	if (report->is_terminal)
		fputs("\r\033[K", stderr);
	printf("steps: %" PRIu64 " loss: %.4f iter time (s): %.3f samples/sec: %.3f\n", report->totals.steps_done,
	       step->loss, seconds, report->options.train_batch_size / seconds);
	for (uint32_t s = 0; s < report->stages && report->options.wall_clock_breakdown; s++) {
		const struct job_stage_step *stage = &step->stages[s];
		printf("time (ms) | stage: %u | forward: %.2f | backward: %.2f | step: %.2f | copy: %.2f | wait "
		       "previous: "
		       "%.2f | wait next: %.2f | wait coordinator: %.2f\n",
		       s, (double)stage->forward_ns * 1e-6, (double)stage->backward_ns * 1e-6,
		       (double)stage->optimizer_ns * 1e-6, (double)stage->copy_ns * 1e-6,
		       (double)stage->wait_previous_ns * 1e-6, (double)stage->wait_next_ns * 1e-6,
		       (double)stage->wait_coordinator_ns * 1e-6);
	}
	fflush(stdout);
	report->window_seconds = 0.0;
	report->window_steps = 0;
}

static void print_row(const struct report *report, uint32_t s, bool slowest)
{
	const struct plan_stage *stage = &report->options.plan->stages[s];
	const struct rank_totals *totals = &report->totals.rank[s];
	double per_step = report->totals.measured_steps > 0 ? 1e3 / (double)report->totals.measured_steps : 0.0;
	char sent[32], received[32];
	uint64_t steps = report->totals.measured_steps > 0 ? report->totals.measured_steps : 1;
	printf("%5u  %2u-%-2u %12" PRIu64 " %9.1f %9.1f %9.1f %7.1f %9.1f %9.1f %9.1f %10s %10s %6.1f%%%s\n", s,
	       stage->first_layer, stage->end_layer - 1, stage->parameters, totals->forward * per_step,
	       totals->backward * per_step, totals->optimizer * per_step, totals->copy * per_step,
	       totals->wait_previous * per_step, totals->wait_next * per_step, totals->wait_coordinator * per_step,
	       strings_format_bytes(totals->sent_bytes / steps, sent, sizeof(sent)),
	       strings_format_bytes(totals->received_bytes / steps, received, sizeof(received)),
	       100.0 * totals_bubble(&report->totals, s), slowest ? "  <" : "");
}

static uint32_t slowest_stage(const struct report *report)
{
	uint32_t slowest = 0;
	for (uint32_t s = 1; s < report->stages; s++)
		if (totals_busy(&report->totals, s) > totals_busy(&report->totals, slowest))
			slowest = s;
	return slowest;
}

void lines_table(const struct report *report)
{
	if (report->totals.measured_steps == 0)
		return;
	uint32_t slowest = slowest_stage(report);
	printf("\n%" PRIu64 " steps in %.1f s; %.1f samples/s over %" PRIu64 " steps, without %u for warming up\n",
	       report->totals.steps_done, report->totals.all_seconds, totals_throughput(&report->totals),
	       report->totals.measured_steps, report->totals.warm_up_steps);
	printf("loss %.4f at the first step, %.4f at the last\n", report->first_loss, report->last_loss);
	if (report->last_loss_scale > 0.0)
		printf("%" PRIu64 " steps skipped because a gradient overflowed; the loss scale came to %.10g\n",
		       report->skipped_steps, report->last_loss_scale);
	printf("\nms per step\n%5s  %-5s %12s %9s %9s %9s %7s %9s %9s %9s %10s %10s %7s\n", "stage", "layer",
	       "parameters", "forward", "backward", "optimizer", "copy", "wait prev", "wait next", "wait coor", "sent",
	       "received", "bubble");
	for (uint32_t s = 0; s < report->stages; s++)
		print_row(report, s, report->stages > 1 && s == slowest);
	if (report->stages > 1) {
		double busy = totals_busy(&report->totals, slowest), sum = 0.0;
		for (uint32_t s = 0; s < report->stages; s++)
			sum += totals_busy(&report->totals, s);
		printf("\nstage %u on %s is the busiest (<): %.1f ms of work per step, %.2f times the mean; the others "
		       "wait for it\n",
		       slowest, report->options.addresses[slowest], busy * 1e3 / (double)report->totals.measured_steps,
		       busy * report->stages / sum);
	}
	fflush(stdout);
}
