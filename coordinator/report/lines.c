// Lines for people. Progress goes to stderr: one line that rewrites itself on a terminal, a plain line a second
// otherwise. Results go to stdout.
#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "coordinator/report/internal.h"
#include "coordinator/report/terminal.h"
#include "coordinator/run/loss_scaler.h"
#include "coordinator/plan/rank_name.h"

enum { TERMINAL_INTERVAL_MS = 100, PLAIN_INTERVAL_MS = 1000 };

void lines_progress(struct report *report, const struct job_step *step)
{
	uint64_t now = clock_now_ns();
	bool last = report->totals.steps_done == report->options.steps;
	uint64_t interval_ms = report->is_terminal ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS;
	if (!last && !step->skipped && !step->diverged && report->totals.steps_done > 1 &&
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
		 report->totals.steps_done, report->options.steps, strings_unsigned_nan(step->loss),
		 100.0 * totals_accuracy(&report->totals, step), rate, seconds / 60, seconds % 60, skipped);
	if (report->is_terminal)
		progress_show(line);
	else
		fprintf(stderr, "%s\n", line);
	fflush(stderr);
}

void lines_warn_stuck(struct report *report, const struct job_step *step)
{
	if (report->is_terminal)
		progress_clear();
	log_warning("step %" PRIu64
		    " was skipped: a gradient overflowed, and the loss scale, %.10g, cannot fall; after %d such "
		    "steps in a row the job ends",
		    step->step, step->loss_scale, LOSS_SCALER_PATIENCE);
}

void lines_warn_diverged(struct report *report, const struct job_step *step)
{
	if (report->is_terminal)
		fputs("\r\033[K", stderr);
	log_warning("training diverged at step %" PRIu64
		    ": the loss is %.6g, the gradient norm %.6g, the learning rate "
		    "%.6g",
		    step->step, strings_unsigned_nan(step->loss), strings_unsigned_nan(step->gradient_norm),
		    step->learning_rate);
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
		progress_clear();
	printf("steps: %" PRIu64 " loss: %.4f iter time (s): %.3f samples/sec: %.3f\n", report->totals.steps_done,
	       strings_unsigned_nan(step->loss), seconds, report->options.train_batch_size / seconds);
	for (uint32_t r = 0; r < report->ranks && report->options.wall_clock_breakdown; r++)
		print_breakdown(report, r, &step->ranks[r]);
	fflush(stdout);
	report->window_seconds = 0.0;
	report->window_steps = 0;
}

// Two tables, so that each fits 80 columns. The columns of replicas are there where there are several.
static void print_place(const struct report *report, uint32_t rank)
{
	printf("%5u", plan_rank_stage(report->options.plan, rank));
	if (has_replicas(report))
		printf(" %7u", plan_rank_replica(report->options.plan, rank));
}

static double ms_per_step(const struct report *report, uint32_t rank, enum phase phase)
{
	return report->totals.rank[rank].seconds[phase] * 1e3 / (double)report->totals.measured_steps;
}

static void print_work(const struct report *report, uint32_t rank, bool busiest)
{
	const struct plan_stage *stage = &report->options.plan->stages[plan_rank_stage(report->options.plan, rank)];
	char layers[32];
	snprintf(layers, sizeof(layers), "%u-%u", stage->first_layer, stage->end_layer - 1);
	print_place(report, rank);
	printf(" %7s %11" PRIu64 " %8.1f %8.1f %9.1f %7.1f %6.1f%%%s\n", layers, stage->parameters,
	       ms_per_step(report, rank, PHASE_FORWARD), ms_per_step(report, rank, PHASE_BACKWARD),
	       ms_per_step(report, rank, PHASE_OPTIMIZER), ms_per_step(report, rank, PHASE_COPY),
	       100.0 * totals_bubble(&report->totals, rank), busiest ? " <" : "");
}

static void print_work_table(const struct report *report, uint32_t busiest)
{
	printf("\nwork in ms per step\n%5s%s %7s %11s %8s %8s %9s %7s %7s\n", "stage",
	       has_replicas(report) ? " replica" : "", "layers", "parameters", "forward", "backward", "optimizer",
	       "copy", "bubble");
	for (uint32_t r = 0; r < report->ranks; r++)
		print_work(report, r, report->ranks > 1 && r == busiest);
}

static void print_waits(const struct report *report, uint32_t rank)
{
	const struct rank_totals *totals = &report->totals.rank[rank];
	char sent[32], received[32];
	print_place(report, rank);
	printf(" %9.1f %9.1f", ms_per_step(report, rank, PHASE_WAIT_PREVIOUS),
	       ms_per_step(report, rank, PHASE_WAIT_NEXT));
	if (has_replicas(report))
		printf(" %9.1f", ms_per_step(report, rank, PHASE_WAIT_REPLICAS));
	printf(" %11.1f %10s %10s\n", ms_per_step(report, rank, PHASE_WAIT_COORDINATOR),
	       strings_format_bytes(totals->sent_bytes / report->totals.measured_steps, sent, sizeof(sent)),
	       strings_format_bytes(totals->received_bytes / report->totals.measured_steps, received,
				    sizeof(received)));
}

static void print_waits_table(const struct report *report)
{
	bool replicas = has_replicas(report);
	printf("\nwaits in ms, and bytes, per step\n%5s%s %9s %9s%s %11s %10s %10s\n", "stage",
	       replicas ? " replica" : "", "previous", "next", replicas ? "  replicas" : "", "coordinator", "sent",
	       "received");
	for (uint32_t r = 0; r < report->ranks; r++)
		print_waits(report, r);
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
	printf("\nbusiest (<): %s\n%.1f ms of work per step, %.2f times the mean; the others wait for it\n",
	       rank_name(report->options.plan, rank, report->options.addresses[rank], who, sizeof(who)),
	       busy * 1e3 / (double)report->totals.measured_steps, busy * report->ranks / sum);
}

void lines_table(const struct report *report)
{
	if (report->totals.measured_steps == 0)
		return;
	uint32_t busiest = busiest_rank(report);
	printf("\n%" PRIu64 " step%s in %.1f s; %.1f samples/s", report->totals.steps_done,
	       strings_plural(report->totals.steps_done), report->totals.all_seconds,
	       totals_throughput(&report->totals));
	if (report->totals.warm_up_steps > 0)
		printf(", measured after %u step%s of warm-up", report->totals.warm_up_steps,
		       strings_plural(report->totals.warm_up_steps));
	putchar('\n');
	printf("loss %.4f at the first step, %.4f at the last\n", strings_unsigned_nan(report->first_loss),
	       strings_unsigned_nan(report->last_loss));
	if (report->last_loss_scale > 0.0)
		printf("%" PRIu64 " step%s skipped: a gradient overflowed; the loss scale is now %.10g\n",
		       report->skipped_steps, strings_plural(report->skipped_steps), report->last_loss_scale);
	print_work_table(report, busiest);
	print_waits_table(report);
	if (report->ranks > 1 && totals_busy(&report->totals, busiest) > 0.0)
		print_busiest(report, busiest);
	fflush(stdout);
}
