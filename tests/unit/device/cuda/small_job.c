// See small_job.h.
#include "tests/unit/device/cuda/small_job.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <cuda_runtime_api.h>

#include "tests/unit/device/rule.h"

static const struct device_ops *const ops = &cuda_device_ops;

void job_count_call(void *user, bool ok)
{
	struct calls *calls = user;
	atomic_fetch_add(ok ? &calls->good : &calls->bad, 1);
}

struct job *job_open(struct harness *harness, enum data_type type, uint32_t checkpoint_interval)
{
	struct job *job = calloc(1, sizeof(*job));
	assert_non_null(job);
	job->harness = harness != NULL ? harness : harness_open(ops, 1);
	job->has_own_harness = harness == NULL;
	harness_small_model(0.5f, &job->model);
	job->spec = harness_spec(&job->model, 0, job->model.layer_count, N);
	job->spec.slots = SLOTS;
	job->spec.micro_batches = MICRO_BATCHES;
	job->spec.marks = 2;
	job->spec.compute_type = type;
	job->spec.checkpoint_interval = checkpoint_interval;
	job->program = harness_program(job->harness, &job->spec);
	return job;
}

void job_allocate_gradients(struct job *job)
{
	assert_true(model_parameter_count(&job->model) <= MOST_PARAMETERS);
	for (uint32_t p = 0; p < model_parameter_count(&job->model); p++) {
		struct parameter parameter;
		model_parameter(&job->model, p, &parameter);
		job->gradients[p] = ops->host_allocate(job->harness->device, parameter.count * sizeof(float));
		assert_non_null(job->gradients[p]);
	}
}

void job_free_gradients(struct job *job)
{
	for (uint32_t p = 0; p < MOST_PARAMETERS; p++) {
		ops->host_free(job->harness->device, job->gradients[p]);
		job->gradients[p] = NULL;
	}
}

struct job *job_open_replica(struct harness *harness, enum data_type type, uint32_t checkpoint_interval)
{
	struct job *job = job_open(harness, type, checkpoint_interval);
	ops->program_destroy(job->program);
	job->spec.replicas = true;
	job->program = harness_program(job->harness, &job->spec);
	job_allocate_gradients(job);
	return job;
}

void job_close(struct job *job)
{
	ops->program_destroy(job->program);
	job_free_gradients(job);
	if (job->has_own_harness)
		harness_close(job->harness);
	free(job);
}

bool job_issued(struct job *job, bool ok)
{
	job->issued += ok;
	return ok;
}

bool job_forward(struct job *job, uint32_t number, struct error *error)
{
	struct device_completion completion = {job_count_call, &job->calls};
	uint32_t slot = number % SLOTS;
	char name[32];
	snprintf(name, sizeof(name), "micro-batch %u", number);
	rule_fill_bytes(name, sizeof(job->images), job->images);
	rule_fill_labels(name, N, 10, job->labels);
	if (!job_issued(job, ops->load_images(job->program, slot, job->images, completion, error)) ||
	    !job_issued(job, ops->load_labels(job->program, slot, job->labels, completion, error)))
		return false;
	for (uint32_t l = 0; l < job->model.layer_count; l++)
		if (!ops->forward(job->program, slot, l, (uint64_t)number * N, error))
			return false;
	return job_issued(job, ops->read_output(job->program, slot, job->output, completion, error)) &&
	       ops->loss(job->program, slot, number, error) &&
	       ops->synchronize(job->program, error); // the host's memory is used again
}

bool job_read_gradients(struct job *job, uint32_t layer, struct error *error)
{
	struct device_completion completion = {job_count_call, &job->calls};
	uint32_t end = model_first_parameter(&job->model, layer + 1);
	for (uint32_t p = model_first_parameter(&job->model, layer); p < end; p++)
		if (!job_issued(job, ops->read_gradient(job->program, p, job->gradients[p], completion, error)))
			return false;
	return true;
}

static bool job_write_gradients(struct job *job, struct error *error)
{
	struct device_completion completion = {job_count_call, &job->calls};
	for (uint32_t p = 0; p < model_parameter_count(&job->model); p++)
		if (!job_issued(job, ops->write_gradient(job->program, p, job->gradients[p], completion, error)))
			return false;
	return true;
}

void job_wait_for_calls(struct job *job)
{
	while (job->calls.good + job->calls.bad < job->issued)
		sched_yield();
}

// The last one's gradients go out, layer by layer, with replicas.
static bool job_backward(struct job *job, uint32_t number, struct error *error)
{
	uint32_t slot = number % SLOTS;
	bool reads = job->spec.replicas && number + 1 == MICRO_BATCHES;
	if (!ops->loss_backward(job->program, slot, 1.0f, error))
		return false;
	for (uint32_t l = job->model.layer_count; l-- > 0;)
		if (!ops->backward_weight(job->program, slot, l, error) ||
		    (reads && !job_read_gradients(job, l, error)) || !ops->backward_input(job->program, slot, l, error))
			return false;
	return true;
}

bool job_step(struct job *job, struct error *error)
{
	struct optimizer_step settings = {.learning_rate = 0.05f, .beta1 = 0.9f, .gradient_scale = 1.0f};
	if (!ops->zero_gradients(job->program, error) || !ops->mark(job->program, 0, error))
		return false;
	for (uint32_t begin = 0; begin < MICRO_BATCHES; begin += SLOTS)
		for (uint32_t i = 0; i < 2 * SLOTS; i++)
			if (i < SLOTS ? !job_forward(job, begin + i, error)
				      : !job_backward(job, begin + i - SLOTS, error))
				return false;
	job_wait_for_calls(job);
	if (job->spec.replicas && !job_write_gradients(job, error))
		return false;
	return ops->optimizer_step(job->program, &settings, error) && ops->mark(job->program, 1, error) &&
	       ops->synchronize(job->program, error);
}

void forget_what_is_loaded(void)
{
	assert_int_equal(cudaSetDevice(0), cudaSuccess);
	assert_int_equal(cudaDeviceReset(), cudaSuccess);
}
