// See capture.h.
#include "coordinator/prove/capture.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool capture_create(const struct model *model, uint64_t steps, struct capture **ret_capture, struct error *error)
{
	struct capture *capture = calloc(1, sizeof(*capture));
	if (capture == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	uint32_t count = model_parameter_count(model);
	capture->model = *model;
	capture->parameter_count = count;
	capture->step_count = steps;
	capture->steps = calloc(steps + 1, sizeof(*capture->steps));
	capture->squares = calloc(steps + 1, (count + 1) * sizeof(*capture->squares));
	capture->values = calloc(count + 1, sizeof(*capture->values));
	capture->received_bytes = calloc(count + 1, sizeof(*capture->received_bytes));
	bool ok = capture->steps != NULL && capture->squares != NULL && capture->values != NULL &&
		  capture->received_bytes != NULL;
	for (uint32_t i = 0; i < count && ok; i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		capture->values[i] = malloc(parameter.count * sizeof(float));
		ok = capture->values[i] != NULL;
	}
	if (!ok) {
		capture_destroy(capture);
		return error_set(
			error, ERROR_FAILED,
			"out of memory: the coordinator keeps the parameters of both trainings to compare them");
	}
	*ret_capture = capture;
	return true;
}

void capture_destroy(struct capture *capture)
{
	if (capture == NULL)
		return;
	for (uint32_t i = 0; i < capture->parameter_count && capture->values != NULL; i++)
		free(capture->values[i]);
	kernels_fini(&capture->kernels);
	free(capture->values);
	free(capture->received_bytes);
	free(capture->squares);
	free(capture->steps);
	free(capture);
}

bool capture_add_step(struct capture *capture, const struct job_step *step, struct error *error)
{
	uint64_t s = capture->steps_done;
	if (s == capture->step_count || step->step != s)
		return error_set(error, ERROR_FAILED, "step %" PRIu64 " was reported instead of step %" PRIu64,
				 step->step, s);
	if (step->gradient_squares == NULL && capture->parameter_count > 0)
		return error_set(error, ERROR_PROTOCOL, "step %" PRIu64 " has no gradient norms", s);
	capture->steps[s] = (struct capture_step){.loss = step->loss,
						  .gradient_norm = step->gradient_norm,
						  .correct = step->correct,
						  .skipped = step->skipped};
	if (capture->parameter_count > 0)
		memcpy(capture->squares + s * capture->parameter_count, step->gradient_squares,
		       capture->parameter_count * sizeof(*capture->squares));
	capture->steps_done++;
	return true;
}

static uint64_t parameter_bytes(const struct capture *capture, uint32_t index)
{
	struct parameter parameter;
	model_parameter(&capture->model, index, &parameter);
	return parameter.count * sizeof(float);
}

bool capture_put(struct capture *capture, uint32_t parameter, uint64_t offset_bytes, const void *data,
		 uint64_t size_bytes, struct error *error)
{
	if (parameter >= capture->parameter_count || offset_bytes > parameter_bytes(capture, parameter) ||
	    size_bytes > parameter_bytes(capture, parameter) - offset_bytes)
		return error_set(error, ERROR_PROTOCOL, "%" PRIu64 " bytes of parameter %u have no place in the model",
				 size_bytes, parameter);
	memcpy((uint8_t *)capture->values[parameter] + offset_bytes, data, size_bytes);
	capture->received_bytes[parameter] += size_bytes;
	return true;
}

bool capture_check_whole(const struct capture *capture, struct error *error)
{
	for (uint32_t i = 0; i < capture->parameter_count; i++) {
		struct parameter parameter;
		model_parameter(&capture->model, i, &parameter);
		uint64_t size = parameter_bytes(capture, i);
		if (capture->received_bytes[i] != size)
			return error_set(error, ERROR_PROTOCOL,
					 "final values of %s: %" PRIu64 " bytes came, it has %" PRIu64, parameter.name,
					 capture->received_bytes[i], size);
	}
	return true;
}

// ---- The job

struct run {
	struct capture *capture;
	const struct capture_progress *progress;
	uint32_t ranks;
	struct error error; // of what could not be kept; the job goes on to its end
	bool failed;
};

static void on_opened(void *user, uint32_t rank, const struct stage_memory *memory)
{
}

static void on_settled(void *user, const struct job_numerics *numerics)
{
	struct run *run = user;
	if (!run->failed && !kernels_copy(numerics, run->ranks, &run->capture->kernels, &run->error))
		run->failed = true;
}

static void on_started(void *user)
{
}

static void on_step(void *user, const struct job_step *step)
{
	struct run *run = user;
	if (!run->failed && !capture_add_step(run->capture, step, &run->error))
		run->failed = true;
	if (!run->failed && run->progress != NULL)
		run->progress->call(run->progress->user, run->capture);
}

static bool put(void *user, uint32_t parameter, uint64_t offset_bytes, const void *data, uint64_t size_bytes,
		struct error *error)
{
	struct run *run = user;
	return capture_put(run->capture, parameter, offset_bytes, data, size_bytes, error);
}

bool capture_run(struct capture *capture, const struct job_options *options, const struct capture_progress *progress,
		 struct error *error)
{
	static const struct job_events events = {
		.opened = on_opened, .settled = on_settled, .started = on_started, .step = on_step};
	struct run run = {.capture = capture, .progress = progress, .ranks = plan_rank_count(options->plan)};
	struct job_sink sink = {.put = put, .user = &run};
	struct job_options captured = *options;
	captured.events = &events;
	captured.user = &run;
	captured.sink = &sink;
	if (!job_run(&captured, error))
		return false;
	if (run.failed) {
		*error = run.error;
		return false;
	}
	return capture_check_whole(capture, error);
}
