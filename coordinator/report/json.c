// JSON lines: a "plan" object, a "numerics" object, a "step" object per step, a "summary" object. docs/train.md lists their members.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/report/internal.h"
#include "coordinator/report/json_output.h"
#include "coordinator/report/json_text.h"
#include "coordinator/report/plan_json.h"

static void write_line(struct report *report, json_t *object)
{
	_cleanup_free_ char *text = object != NULL ? json_text(object) : NULL;
	_cleanup_free_ char *line = NULL;
	int length = text != NULL ? asprintf(&line, "%s\n", text) : -1;
	if (length > 0)
		json_output_put(report->options.json, line, (size_t)length);
	else
		line = NULL; // out of memory: the line is missing
	json_decref(object);
}

// JSON has no infinity and no NaN (a loss that diverged): null.
static json_t *number(double value)
{
	json_t *real = json_real(value);
	return real != NULL ? real : json_null();
}

// The stage that the rank holds, and where.
static json_t *rank_place(const struct report *report, uint32_t rank)
{
	const struct plan *plan = report->options.plan;
	json_t *stage = plan_json_stage(plan, plan_rank_stage(plan, rank));
	if (stage == NULL)
		return NULL;
	json_object_set_new(stage, "replica", json_integer(plan_rank_replica(plan, rank)));
	json_object_set_new(stage, "address", json_string(report->options.addresses[rank]));
	json_object_set_new(stage, "device_index", json_integer(report->options.devices[rank]));
	return stage;
}

void json_plan(struct report *report)
{
	if (report->options.json == NULL)
		return;
	json_t *stages = json_array();
	for (uint32_t r = 0; r < report->ranks; r++)
		json_array_append_new(stages, rank_place(report, r));
	json_t *object = plan_json_object(report->options.plan, stages);
	if (object != NULL) {
		json_object_set_new(object, "train_batch_size", json_integer(report->options.train_batch_size));
		json_object_set_new(object, "steps", json_integer((json_int_t)report->options.steps));
	}
	write_line(report, object);
}

static json_t *kernel(const struct report *report, const struct job_kernel *kernel)
{
	return json_pack("{s:s, s:s, s:s?}", "layer", report->options.plan->model.layers[kernel->layer].name,
			 "question", kernel->question, "choice", kernel->choice);
}

static json_t *rank_kernels(const struct report *report, const struct job_numerics *numerics, uint32_t rank)
{
	const struct plan *plan = report->options.plan;
	json_t *kernels = json_array();
	for (uint32_t i = 0; i < numerics->kernel_counts[rank]; i++)
		json_array_append_new(kernels, kernel(report, &numerics->kernels[rank][i]));
	return json_pack("{s:i, s:i, s:s, s:o}", "replica", (int)plan_rank_replica(plan, rank), "pipeline_stage",
			 (int)plan_rank_stage(plan, rank), "machine", numerics->machines[rank], "kernels", kernels);
}

void json_numerics(struct report *report, const struct job_numerics *numerics)
{
	if (report->options.json == NULL)
		return;
	json_t *stages = json_array();
	for (uint32_t r = 0; r < report->ranks; r++)
		json_array_append_new(stages, rank_kernels(report, numerics, r));
	write_line(report, json_pack("{s:s, s:b, s:o}", "type", "numerics", "machines_differ",
				     numerics->machines_differ, "stages", stages));
}

// Adds "<phase>_seconds" of each phase.
static void add_phases(json_t *object, const double seconds[PHASE_COUNT])
{
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
		json_object_set_new(object, phase_seconds_name(phase), json_real(seconds[phase]));
}

static json_t *rank_step(const struct job_rank_step *step)
{
	double seconds[PHASE_COUNT];
	json_t *object = json_pack("{s:f}", "step_seconds", (double)step->step_ns * 1e-9);
	for (int phase = 0; phase < PHASE_COUNT; phase++)
		seconds[phase] = (double)step->phase_ns[phase] * 1e-9;
	add_phases(object, seconds);
	json_object_set_new(object, "sent_bytes", json_integer((json_int_t)step->sent_bytes));
	json_object_set_new(object, "received_bytes", json_integer((json_int_t)step->received_bytes));
	return object;
}

void json_step(struct report *report, const struct job_step *step)
{
	if (report->options.json == NULL)
		return;
	json_t *stages = json_array();
	for (uint32_t r = 0; r < report->ranks; r++)
		json_array_append_new(stages, rank_step(&step->ranks[r]));
	json_t *object = json_pack("{s:s, s:I, s:o, s:f, s:o, s:o, s:f, s:o, s:o}", "type", "step", "step",
				   (json_int_t)step->step, "loss", number(step->loss), "accuracy",
				   totals_accuracy(&report->totals, step), "learning_rate", number(step->learning_rate),
				   "gradient_norm", number(step->gradient_norm), "step_seconds", step->seconds,
				   "samples_per_second", number(report->options.train_batch_size / step->seconds),
				   "stages", stages);
	if (step->loss_scale > 0.0 && object != NULL) { // float16
		json_object_set_new(object, "loss_scale", json_real(step->loss_scale));
		json_object_set_new(object, "skipped", json_boolean(step->skipped));
	}
	if (step->diverged && object != NULL)
		json_object_set_new(object, "diverged", json_true());
	write_line(report, object);
}

static json_t *rank_summary(const struct report *report, uint32_t rank)
{
	const struct plan *plan = report->options.plan;
	const struct rank_totals *totals = &report->totals.rank[rank];
	json_t *object = json_pack("{s:i, s:i}", "replica", (int)plan_rank_replica(plan, rank), "pipeline_stage",
				   (int)plan_rank_stage(plan, rank));
	add_phases(object, totals->seconds);
	json_object_set_new(object, "sent_bytes", json_integer((json_int_t)totals->sent_bytes));
	json_object_set_new(object, "received_bytes", json_integer((json_int_t)totals->received_bytes));
	json_object_set_new(object, "bubble", json_real(totals_bubble(&report->totals, rank)));
	json_object_set_new(object, "memory_bytes",
			    json_integer((json_int_t)totals_memory_bytes(&report->totals, rank)));
	return object;
}

void json_summary(struct report *report, const struct error *error)
{
	if (report->options.json == NULL)
		return;
	json_t *stages = json_array();
	for (uint32_t r = 0; r < report->ranks; r++)
		json_array_append_new(stages, rank_summary(report, r));
	json_t *summary = json_pack(
		"{s:s, s:b, s:I, s:i, s:I, s:f, s:f, s:o, s:f, s:o}", "type", "summary", "done", error == NULL, "steps",
		(json_int_t)report->totals.steps_done, "warm_up_steps", (int)report->totals.warm_up_steps,
		"measured_steps", (json_int_t)report->totals.measured_steps, "measured_seconds",
		report->totals.measured_seconds, "samples_per_second", totals_throughput(&report->totals), "loss",
		number(report->last_loss), "accuracy", report->last_accuracy, "stages", stages);
	if (report->last_loss_scale > 0.0 && summary != NULL) { // float16
		json_object_set_new(summary, "loss_scale", json_real(report->last_loss_scale));
		json_object_set_new(summary, "skipped_steps", json_integer((json_int_t)report->skipped_steps));
	}
	if (report->has_diverged && summary != NULL)
		json_object_set_new(summary, "diverged_step", json_integer((json_int_t)report->diverged_step));
	if (error != NULL && summary != NULL)
		json_object_set_new(summary, "error", json_string(error->message));
	write_line(report, summary);
}
