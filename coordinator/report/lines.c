// Lines for people. Progress goes to stderr: one line that rewrites itself on a terminal, a plain line a second
// otherwise. Results go to stdout.
#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "coordinator/report/internal.h"
#include "coordinator/run/loss_scaler.h"
#include "coordinator/plan/rank_name.h"

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

static bool has_replicas(const struct report *report)
{
	return report->options.plan->options.data_parallel_size > 1;
}

static double ms(const struct job_rank_step *step, enum phase phase)
{
	return (double)step->phase_ns[phase] * 1e-6;
}

static void print_breakdown(const struct report *report, uint32_t rank, const struct job_rank_step *step)
{
	const struct plan *plan = report->options.plan;
	printf("time (ms) | stage: %u", plan_rank_stage(plan, rank));
	if (has_replicas(report))
		printf(" | replica: %u", plan_rank_replica(plan, rank));
	printf(" | forward: %.2f | backward: %.2f | step: %.2f | copy: %.2f | wait previous: %.2f | wait next: %.2f",
	       ms(step, PHASE_FORWARD), ms(step, PHASE_BACKWARD), ms(step, PHASE_OPTIMIZER), ms(step, PHASE_COPY),
	       ms(step, PHASE_WAIT_PREVIOUS), ms(step, PHASE_WAIT_NEXT));
	if (has_replicas(report))
		printf(" | wait replicas: %.2f", ms(step, PHASE_WAIT_REPLICAS));
	printf(" | wait coordinator: %.2f\n", ms(step, PHASE_WAIT_COORDINATOR));
}

// The line that DeepSpeed's engine prints, in its words; the times are means since the one before.
void lines_print(struct report *report, const struct job_step *step)
{
	double seconds = report->window_seconds / (double)report->window_steps;
	if (report->is_terminal)
		fputs("\r\033[K", stderr);
	printf("steps: %" PRIu64 " loss: %.4f iter time (s): %.3f samples/sec: %.3f\n", report->totals.steps_done,
	       step->loss, seconds, report->options.train_batch_size / seconds);
	for (uint32_t r = 0; r < report->ranks && report->options.wall_clock_breakdown; r++)
		print_breakdown(report, r, &step->ranks[r]);
	fflush(stdout);
	report->window_seconds = 0.0;
	report->window_steps = 0;
}

// The columns of replicas are there where there are several.
static void print_header(const struct report *report)
{
	bool replicas = has_replicas(report);
	printf("\nms per step\n%5s%s  %-5s %12s %9s %9s %9s %7s %9s %9s%s %9s %10s %10s %7s\n", "stage",
	       replicas ? " replica" : "", "layer", "parameters", "forward", "backward", "optimizer", "copy",
	       "wait prev", "wait next", replicas ? " wait repl" : "", "wait coor", "sent", "received", "bubble");
}

static void print_row(const struct report *report, uint32_t rank, bool busiest)
{
	const struct plan *plan = report->options.plan;
	uint32_t s = plan_rank_stage(plan, rank);
	const struct plan_stage *stage = &plan->stages[s];
	const struct rank_totals *totals = &report->totals.rank[rank];
	double per_step = 1e3 / (double)report->totals.measured_steps;
	char sent[32], received[32], replica[16] = "", wait_replicas[16] = "";
	if (has_replicas(report)) {
		snprintf(replica, sizeof(replica), " %7u", plan_rank_replica(plan, rank));
		snprintf(wait_replicas, sizeof(wait_replicas), " %9.1f",
			 totals->seconds[PHASE_WAIT_REPLICAS] * per_step);
	}
	printf("%5u%s  %2u-%-2u %12" PRIu64 " %9.1f %9.1f %9.1f %7.1f %9.1f %9.1f%s %9.1f %10s %10s %6.1f%%%s\n", s,
	       replica, stage->first_layer, stage->end_layer - 1, stage->parameters,
	       totals->seconds[PHASE_FORWARD] * per_step, totals->seconds[PHASE_BACKWARD] * per_step,
	       totals->seconds[PHASE_OPTIMIZER] * per_step, totals->seconds[PHASE_COPY] * per_step,
	       totals->seconds[PHASE_WAIT_PREVIOUS] * per_step, totals->seconds[PHASE_WAIT_NEXT] * per_step,
	       wait_replicas, totals->seconds[PHASE_WAIT_COORDINATOR] * per_step,
	       strings_format_bytes(totals->sent_bytes / report->totals.measured_steps, sent, sizeof(sent)),
	       strings_format_bytes(totals->received_bytes / report->totals.measured_steps, received, sizeof(received)),
	       100.0 * totals_bubble(&report->totals, rank), busiest ? "  <" : "");
}

static uint32_t busiest_rank(const struct report *report)
{
	uint32_t busiest = 0;
	for (uint32_t r = 1; r < report->ranks; r++)
		if (totals_busy(&report->totals, r) > totals_busy(&report->totals, busiest))
			busiest = r;
	return busiest;
}

static void print_busiest(const struct report *report, uint32_t rank)
{
	double busy = totals_busy(&report->totals, rank), sum = 0.0;
	char who[RANK_NAME_SIZE];
	for (uint32_t r = 0; r < report->ranks; r++)
		sum += totals_busy(&report->totals, r);
	printf("\n%s is the busiest (<): %.1f ms of work per step, %.2f times the mean; the others wait for it\n",
	       rank_name(report->options.plan, rank, report->options.addresses[rank], who, sizeof(who)),
	       busy * 1e3 / (double)report->totals.measured_steps, busy * report->ranks / sum);
}

void lines_table(const struct report *report)
{
	if (report->totals.measured_steps == 0)
		return;
	uint32_t busiest = busiest_rank(report);
	printf("\n%" PRIu64 " steps in %.1f s; %.1f samples/s over %" PRIu64 " steps, without %u for warming up\n",
	       report->totals.steps_done, report->totals.all_seconds, totals_throughput(&report->totals),
	       report->totals.measured_steps, report->totals.warm_up_steps);
	printf("loss %.4f at the first step, %.4f at the last\n", report->first_loss, report->last_loss);
	if (report->last_loss_scale > 0.0)
		printf("%" PRIu64 " steps skipped because a gradient overflowed; the loss scale came to %.10g\n",
		       report->skipped_steps, report->last_loss_scale);
	print_header(report);
	for (uint32_t r = 0; r < report->ranks; r++)
		print_row(report, r, report->ranks > 1 && r == busiest);
	if (report->ranks > 1 && totals_busy(&report->totals, busiest) > 0.0)
		print_busiest(report, busiest);
	fflush(stdout);
}
