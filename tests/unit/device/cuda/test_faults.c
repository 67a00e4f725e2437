// What goes wrong on a GPU, on the stand-in for CUDA: faults that end one program and no more, memory that is not there, contexts of
// several GPUs.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

#include "tests/cuda_stand_in/stand_in.h"
#include "tests/unit/device/cuda/small_job.h"

static const struct device_ops *const ops = &cuda_device_ops;

static void destroy_calls_every_completion(void **state)
{
	struct job *job = job_open(NULL, DATA_FLOAT32, 0);
	struct error error = {0};
	struct device_completion completion = {job_count_call, &job->calls};
	for (int i = 0; i < 600; i++) // more than are under way at once
		harness_check(ops->load_labels(job->program, 0, job->labels, completion, &error), error);
	ops->program_destroy(job->program);
	job->program = NULL;
	assert_int_equal(job->calls.good, 600);
	assert_int_equal(job->calls.bad, 0);
	job_close(job);
}

// Wherever in a step the fault comes: it is told, each completion is called once, and the next program serves.
static void fault_ends_the_program_and_nothing_else(void **state)
{
	int faults = 0;
	for (long when = 1;; when += 73, faults++) {
		struct job *job = job_open_replica(NULL, DATA_FLOAT16, 4);
		struct error error = {0}, again = {0};
		stand_in_fail_after(when);
		if (job_step(job, &error)) { // it has fewer operations
			stand_in_fail_after(0);
			job_close(job);
			break;
		}
		assert_int_equal(error.code, ERROR_FAILED);
		assert_non_null(strstr(error.message, "cudaErrorIllegalAddress"));
		assert_false(ops->forward(job->program, 0, 0, 0, &again));
		assert_non_null(strstr(again.message, "failed before"));
		struct program *other = NULL;
		assert_false(ops->program_create(job->harness->device, &job->spec, &other, &again));
		assert_null(other);
		ops->program_destroy(job->program);
		assert_int_equal(job->calls.good + job->calls.bad, job->issued);
		job_free_gradients(job); // pinned memory is the failed GPU's, too
		job->program = harness_program(job->harness, &job->spec);
		job_allocate_gradients(job);
		harness_check(job_step(job, &error), error);
		job_close(job);
	}
	assert_true(faults > 3);
}

static void program_allocate_without_memory_gives_all_back(void **state)
{
	struct job *job = job_open(NULL, DATA_FLOAT32, 0);
	struct error error = {0};
	struct device_sample before, after;
	ops->sample(job->harness->device, &before);
	char bytes[32];
	snprintf(bytes, sizeof(bytes), "%.0f", before.memory_used_bytes + 100000);
	setenv("PENSTOCK_STAND_IN_MEMORY", bytes, 1);
	struct program *program = NULL;
	harness_check(ops->program_create(job->harness->device, &job->spec, &program, &error), error);
	assert_false(ops->program_allocate(program, &error));
	unsetenv("PENSTOCK_STAND_IN_MEMORY");
	assert_int_equal(error.code, ERROR_OUT_OF_MEMORY);
	assert_non_null(strstr(error.message, "GiB are free"));
	ops->program_destroy(program);
	ops->sample(job->harness->device, &after);
	assert_true(before.memory_used_bytes == after.memory_used_bytes);
	harness_check(job_step(job, &error), error);
	job_close(job);
}

// A scrape of an idle daemon takes no memory of the GPU.
static void sample_of_an_idle_gpu_makes_no_context(void **state)
{
	struct device_sample sample;
	forget_what_is_loaded();
	struct harness *harness = harness_open(ops, 1);
	ops->sample(harness->device, &sample);
	assert_true(sample.memory_used_bytes == 0.0 && sample.memory_free_bytes > 0.0);
	assert_false(stand_in_has_context(0));
	harness_close(harness);
}

// A thread that waits for the GPU leaves its processor to others.
static void threads_do_not_spin(void **state)
{
	unsigned flags = 0;
	forget_what_is_loaded();
	struct job *job = job_open(NULL, DATA_FLOAT32, 0);
	assert_int_equal(cudaGetDeviceFlags(&flags), cudaSuccess);
	assert_int_equal(flags & cudaDeviceScheduleMask, cudaDeviceScheduleBlockingSync);
	job_close(job);
}

static void set_gpu(struct device **ret_device, const char *name)
{
	struct device_options options = {.name = name, .threads = 1};
	struct error error = {0};
	harness_check(ops->create(&options, ret_device, &error), error);
}

// Another GPU's context is no cure for one that cannot be made: the job on the first one goes on.
static void program_on_a_full_gpu_leaves_the_other_alone(void **state)
{
	struct job *job = job_open(NULL, DATA_FLOAT32, 0);
	struct device *full = NULL;
	struct program *program = NULL;
	struct error error = {0};
	setenv("PENSTOCK_STAND_IN_DEVICES", "2", 1);
	setenv("PENSTOCK_STAND_IN_FULL", "1", 1);
	set_gpu(&full, "cuda:1");
	assert_false(ops->program_create(full, &job->spec, &program, &error));
	assert_int_equal(error.code, ERROR_OUT_OF_MEMORY);
	assert_non_null(strstr(error.message, "use GPU 1"));
	assert_null(strstr(error.message, "failed"));
	assert_null(ops->host_allocate(full, 4096));
	unsetenv("PENSTOCK_STAND_IN_FULL");
	harness_check(job_step(job, &error), error);
	void *memory = ops->host_allocate(full, 4096); // there is room now
	assert_non_null(memory);
	ops->host_free(full, memory);
	unsetenv("PENSTOCK_STAND_IN_DEVICES");
	ops->destroy(full);
	job_close(job);
}

// Each GPU has its own context, and its own faults.
static void fault_of_one_gpu_leaves_the_other_alone(void **state)
{
	struct harness *harness = harness_open(ops, 1);
	struct job *job = job_open(harness, DATA_FLOAT32, 0);
	struct device *first = harness->device, *second = NULL;
	struct error error = {0};
	setenv("PENSTOCK_STAND_IN_DEVICES", "2", 1);
	set_gpu(&second, "cuda:1");
	harness->device = second;
	struct job *other = job_open(harness, DATA_FLOAT32, 0);
	stand_in_fail_after(5);
	assert_false(job_step(other, &error));
	error = (struct error){0};
	harness_check(job_step(job, &error), error);
	job_close(other);
	other = job_open(harness, DATA_FLOAT32, 0); // in a new context
	harness_check(job_step(other, &error), error);
	harness_check(job_step(job, &error), error);
	job_close(other);
	unsetenv("PENSTOCK_STAND_IN_DEVICES");
	harness->device = first;
	job_close(job);
	ops->destroy(second);
	harness_close(harness);
}

static void create_gpu_that_is_not_there_says_what_is(void **state)
{
	struct device_options options = {.name = "cuda:7"};
	struct device *device = NULL;
	struct error error = {0};
	assert_false(ops->create(&options, &device, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "cuda:0"));
	assert_null(device);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(destroy_calls_every_completion),
		cmocka_unit_test(fault_ends_the_program_and_nothing_else),
		cmocka_unit_test(program_allocate_without_memory_gives_all_back),
		cmocka_unit_test(sample_of_an_idle_gpu_makes_no_context),
		cmocka_unit_test(threads_do_not_spin),
		cmocka_unit_test(program_on_a_full_gpu_leaves_the_other_alone),
		cmocka_unit_test(fault_of_one_gpu_leaves_the_other_alone),
		cmocka_unit_test(create_gpu_that_is_not_there_says_what_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
