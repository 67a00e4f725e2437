// The steps: orders and data go out ahead, reports and gradient norms come in.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strings.h"
#include "coordinator/dataset/read_ahead.h"
#include "coordinator/run/gradient_scale.h"
#include "coordinator/run/internal.h"
#include "coordinator/run/loss_scaler.h"

enum { DATA_WAIT_MS = 100 }; // for data, between two looks at whether the job was interrupted

// A step under way; there are JOB_STEPS_AHEAD of them.
struct flight {
	uint32_t reports;   // ranks that are done with it
	bool *has_reported; // [ranks]
	bool *has_norms;    // [ranks]; those of other replicas than the first, which tell none, count as if they had
	struct job_step result;
	struct job_rank_step *ranks; // [ranks]
	double *losses;              // [data_parallel_size] of the replicas' last stages
	uint32_t norms;              // stages whose gradient norms are here
	double *squares;             // [parameters] of their gradients
};

struct steps {
	struct job *job;
	struct flight flight[JOB_STEPS_AHEAD];
	uint64_t ordered, scaled, done; // steps; the second: whose gradients' scale was sent
	uint64_t skipped;               // of those that are done
	struct read_ahead *data;
	uint64_t last_ns; // when the step before was done
	bool loss_scaling;
	struct loss_scaler scaler;
};

// A skipped step does not advance the schedule: `step` counts those that were applied.
static struct learning_rate_value rate_at(const struct steps *steps, uint64_t step)
{
	const struct deepspeed_config *config = steps->job->options.config;
	return learning_rate_at(&config->schedule, step, config->learning_rate, config->beta1);
}

// Waits until the data of the next step is there. With steps queued it only looks: their ranks may wait for answers.
static bool await_data(struct steps *steps, bool *ret_ready, struct error *error)
{
	bool may_wait = steps->ordered == steps->done;
	while (!(*ret_ready = read_ahead_wait(steps->data, may_wait ? DATA_WAIT_MS : 0)) && may_wait) {
		if (job_is_interrupted())
			return error_set(error, ERROR_CANCELLED, "interrupted at step %" PRIu64, steps->job->step);
		progress_note(&steps->job->progress, clock_now_ns(), false); // no rank is late
	}
	return true;
}

// Replica r has the r-th part of the step's samples: who sees a sample depends on the number of replicas, what is seen does not.
static bool send_data(struct steps *steps, uint64_t step, struct error *error)
{
	struct job *job = steps->job;
	uint32_t m = job->plan->options.micro_batches, d = job->plan->options.data_parallel_size;
	uint32_t last_stage = job->plan->options.pipeline_size - 1;
	for (uint32_t i = 0; i < m * d; i++) {
		uint32_t b = i / d, r = i % d; // all replicas' first micro-batches first, as they are read
		struct buffer *data[DATASET_INPUTS];
		if (!read_ahead_take(steps->data, data, error))
			return false;
		stage_session_batch(job->sessions[plan_rank(job->plan, 0, r)], &(struct batch){step, b, BATCH_IMAGES},
				    data[DATASET_IMAGES]);
		stage_session_batch(job->sessions[plan_rank(job->plan, last_stage, r)],
				    &(struct batch){step, b, BATCH_LABELS}, data[DATASET_LABELS]);
	}
	return true;
}

static bool order_step(struct steps *steps, struct error *error)
{
	struct job *job = steps->job;
	const struct deepspeed_config *config = job->options.config;
	uint64_t step = steps->ordered++;
	struct flight *flight = &steps->flight[step % JOB_STEPS_AHEAD];
	// Whether the step before will be skipped is not known yet. The rate is sent once more when it is; beta1, which
	// OneCycle moves, may be a step ahead then.
	struct learning_rate_value rate = rate_at(steps, step - steps->skipped);
	flight->reports = flight->norms = 0;
	for (uint32_t r = 0; r < job->ranks; r++) {
		flight->has_reported[r] = false;
		flight->has_norms[r] = plan_rank_replica(job->plan, r) != 0;
	}
	flight->result = (struct job_step){.step = step,
					   .learning_rate = strings_shortest_decimal((float)rate.learning_rate),
					   .ranks = flight->ranks};
	struct step_order order = {.step = step,
				   .learning_rate = (float)rate.learning_rate,
				   .beta1 = (float)rate.momentum,
				   .beta2 = config->beta2};
	uint64_t share = (uint64_t)job->plan->options.micro_batches * job->plan->options.micro_batch_size;
	for (uint32_t r = 0; r < job->ranks; r++) {
		order.first_sample = step * config->train_batch_size + plan_rank_replica(job->plan, r) * share;
		stage_session_run_step(job->sessions[r], &order);
	}
	return send_data(steps, step, error);
}

// The flight of `step`, or NULL when no such step is under way.
static struct flight *flight_of(struct steps *steps, uint64_t step)
{
	return step >= steps->done && step < steps->ordered ? &steps->flight[step % JOB_STEPS_AHEAD] : NULL;
}

// Of equal shares of the samples; summed in the replicas' order, so that a run can be repeated to the bit.
static double mean_loss(const double *losses, uint32_t replicas)
{
	double sum = 0.0;
	for (uint32_t r = 0; r < replicas; r++)
		sum += losses[r];
	return sum / replicas;
}

static bool refuse_divergence(const struct job_step *step, struct error *error)
{
	char norm[48] = "";
	if (step->gradient_norm != 0.0) // told with clipping and float16
		snprintf(norm, sizeof(norm), ", the gradient norm %.6g", strings_unsigned_nan(step->gradient_norm));
	return error_set(error, ERROR_DIVERGED,
			 "step %" PRIu64 ": training diverged: the loss is %.6g%s, the learning rate %.6g; nothing was "
			 "saved. Try a lower learning rate, a warm-up or gradient_clipping, and check the values that "
			 "--load reads; --no-stop-on-nan goes on",
			 step->step, strings_unsigned_nan(step->loss), norm, step->learning_rate);
}

// With float16 a step whose gradients overflowed is skipped, and the next ones have another loss scale: it is no divergence.
static bool has_diverged(const struct job_step *step)
{
	return !step->skipped && !(isfinite(step->loss) && isfinite(step->gradient_norm));
}

static bool finish_step(struct steps *steps, struct error *error)
{
	struct job *job = steps->job;
	struct flight *flight = &steps->flight[steps->done % JOB_STEPS_AHEAD];
	uint64_t now = clock_now_ns();
	flight->result.loss = mean_loss(flight->losses, job->plan->options.data_parallel_size);
	flight->result.seconds = (double)(now - steps->last_ns) * 1e-9;
	steps->last_ns = now;
	steps->skipped += flight->result.skipped;
	flight->result.diverged = has_diverged(&flight->result);
	job->step = ++steps->done;
	job->options.events->step(job->options.user, &flight->result);
	return !flight->result.diverged || !job->options.stop_on_nan || refuse_divergence(&flight->result, error);
}

static bool take_report(struct steps *steps, uint32_t rank, const struct step_report *report, struct error *error)
{
	struct job *job = steps->job;
	struct flight *flight = flight_of(steps, report->step);
	if (flight == NULL)
		return job_refuse(job, rank, "a report of a step that is not running", error);
	if (!job_take_answer(job, rank, flight->has_reported, error))
		return false;
	// NOLINTNEXTLINE(clang-analyzer-core.NullDereference): steps_run has made them all
	flight->ranks[rank] = (struct job_rank_step){
		.step_ns = report->step_ns,
		.sent_bytes = report->sent_bytes,
		.received_bytes = report->received_bytes,
	};
	memcpy(flight->ranks[rank].phase_ns, report->phase_ns, sizeof(report->phase_ns));
	if (plan_rank_stage(job->plan, rank) + 1 == job->plan->options.pipeline_size) {
		flight->losses[plan_rank_replica(job->plan, rank)] = report->loss;
		flight->result.correct += report->correct;
	}
	flight->reports++;
	while (steps->done < steps->ordered && steps->flight[steps->done % JOB_STEPS_AHEAD].reports == job->ranks)
		if (!finish_step(steps, error))
			return false;
	return true;
}

// The step is skipped, or not; the next one gets its loss scale.
static void scale_loss(struct steps *steps, struct job_step *result, bool overflow, struct gradient_answer *answer)
{
	uint64_t applied = steps->scaler.steps - steps->scaler.skipped;
	result->learning_rate = strings_shortest_decimal((float)rate_at(steps, applied).learning_rate);
	result->loss_scale = steps->scaler.scale;
	loss_scaler_update(&steps->scaler, overflow);
	result->next_loss_scale = steps->scaler.scale;
	result->skipped = overflow;
	result->stuck = steps->scaler.stuck;
	answer->skip = overflow;
	answer->next_loss_scale = (float)steps->scaler.scale;
	answer->learning_rate = (float)result->learning_rate;
	if (overflow)
		answer->scale = 0.0f; // of no meaning
}

static bool refuse_hopeless(const struct steps *steps, struct error *error)
{
	const struct loss_scaler *scaler = &steps->scaler;
	if (!scaler->settings.dynamic)
		return error_set(error, ERROR_FAILED,
				 "step %" PRIu64
				 ": gradients overflowed in %u steps in a row with the fixed loss scale of "
				 "%.10g: make fp16.loss_scale smaller, or 0, which lets it move; or train with bf16",
				 steps->scaled, scaler->stuck, scaler->scale);
	return error_set(
		error, ERROR_FAILED,
		"step %" PRIu64 ": gradients overflowed in %u steps in a row with the loss scale at its minimum of "
		"%.10g: training diverged, or does not fit float16; try a lower learning rate, gradient_clipping, "
		"or bf16",
		steps->scaled, scaler->stuck, scaler->scale);
}

// Replicas hold the same sums: the first one alone tells their norms, and all get the scale.
static bool take_norms(struct steps *steps, uint32_t rank, const struct gradient_norms *norms, struct error *error)
{
	struct job *job = steps->job;
	struct flight *flight = flight_of(steps, norms->step);
	uint32_t parameters = model_parameter_count(&job->plan->model);
	if (plan_rank_replica(job->plan, rank) != 0)
		return job_refuse(job, rank, "gradient norms from a replica other than 0", error);
	if (flight == NULL || norms->step != steps->scaled || norms->first_parameter > parameters ||
	    norms->count > parameters - norms->first_parameter)
		return job_refuse(job, rank, "gradient norms of an unknown step or parameter range", error);
	if (!job_take_answer(job, rank, flight->has_norms, error))
		return false;
	if (flight->squares != NULL && norms->count > 0) // a stage without parameters sends none
		memcpy(flight->squares + norms->first_parameter, norms->squares, norms->count * sizeof(double));
	if (++flight->norms < job->plan->options.pipeline_size)
		return true;
	struct gradient_scale scale =
		gradient_scale_of(flight->squares, parameters, steps->loss_scaling ? steps->scaler.scale : 1.0,
				  job->options.config->gradient_clipping);
	struct gradient_answer answer = {.step = norms->step, .scale = (float)scale.scale};
	flight->result.gradient_norm = scale.norm;
	flight->result.gradient_squares = flight->squares;
	if (steps->loss_scaling)
		scale_loss(steps, &flight->result, scale.overflow, &answer);
	if (steps->scaler.stuck >= LOSS_SCALER_PATIENCE)
		return refuse_hopeless(steps, error);
	for (uint32_t r = 0; r < job->ranks; r++)
		stage_session_gradient_scale(job->sessions[r], &answer);
	steps->scaled++;
	return true;
}

static bool take_event(struct steps *steps, const struct stage_event *event, struct error *error)
{
	switch (event->response->kind) {
	case RESPONSE_STEP_REPORT:
		return take_report(steps, event->rank, &event->response->step_report, error);
	case RESPONSE_GRADIENT_NORMS:
		return take_norms(steps, event->rank, &event->response->gradient_norms, error);
	default:
		return job_unexpected(steps->job, event, error);
	}
}

// Of the first step that is not done.
static void await(const struct steps *steps)
{
	const struct plan_options *plan = &steps->job->plan->options;
	const struct flight *flight = &steps->flight[steps->done % JOB_STEPS_AHEAD];
	bool norms = (plan->gradient_clipping || steps->loss_scaling) && steps->scaled == steps->done;
	if (norms)
		job_await(steps->job, "its GradientNorms", flight->has_norms);
	else
		job_await(steps->job, "its StepReport", flight->has_reported);
}

// As many as may be queued, and have their data.
static bool order_steps(struct steps *steps, struct error *error)
{
	bool ready = true;
	while (ready && steps->ordered < steps->job->options.steps && steps->ordered < steps->done + JOB_STEPS_AHEAD)
		if (!await_data(steps, &ready, error) || (ready && !order_step(steps, error)))
			return false;
	return true;
}

static bool start_reading(struct steps *steps, struct error *error)
{
	const struct job_options *options = &steps->job->options;
	const struct plan_options *plan = &steps->job->plan->options;
	struct read_ahead_options reading = {.dataset = options->dataset,
					     .sampler = options->sampler,
					     .steps = options->steps,
					     .micro_batch_size = plan->micro_batch_size,
					     .micro_batches = plan->micro_batches,
					     .replicas = plan->data_parallel_size};
	return read_ahead_start(&reading, &steps->data, error);
}

static bool run(struct steps *steps, struct error *error)
{
	struct job *job = steps->job;
	job->phase = JOB_RUNNING;
	job->options.events->started(job->options.user);
	steps->last_ns = clock_now_ns();
	while (steps->done < job->options.steps) {
		if (!order_steps(steps, error))
			return false;
		await(steps);
		struct stage_event *event = job_next_event(job, error);
		if (event == NULL)
			return false;
		bool ok = take_event(steps, event, error);
		stage_event_free(event);
		if (!ok)
			return false;
	}
	return true;
}

bool steps_run(struct job *job, struct error *error)
{
	struct steps steps = {.job = job, .loss_scaling = job->plan->options.compute_type == DATA_FLOAT16};
	if (steps.loss_scaling)
		loss_scaler_init(&steps.scaler, &job->options.config->loss_scaling);
	bool ok = true;
	for (int i = 0; i < JOB_STEPS_AHEAD; i++) {
		struct flight *flight = &steps.flight[i];
		flight->ranks = calloc(job->ranks, sizeof(*flight->ranks));
		flight->losses = calloc(job->plan->options.data_parallel_size, sizeof(*flight->losses));
		flight->squares = calloc(model_parameter_count(&job->plan->model) + 1, sizeof(*flight->squares));
		flight->has_reported = calloc(job->ranks, sizeof(*flight->has_reported));
		flight->has_norms = calloc(job->ranks, sizeof(*flight->has_norms));
		ok = ok && flight->ranks != NULL && flight->losses != NULL && flight->squares != NULL &&
		     flight->has_reported != NULL && flight->has_norms != NULL;
	}
	ok = ok || error_set(error, ERROR_FAILED, "out of memory");
	ok = ok && start_reading(&steps, error) && run(&steps, error);
	job_await(job, NULL, NULL);
	for (int i = 0; i < JOB_STEPS_AHEAD; i++) {
		free(steps.flight[i].ranks);
		free(steps.flight[i].losses);
		free(steps.flight[i].squares);
		free(steps.flight[i].has_reported);
		free(steps.flight[i].has_norms);
	}
	read_ahead_stop(steps.data);
	return ok;
}
