// Runs candidates for the tuning file. See trial.h.
#include "stage_server/device/cuda/trial.h"

#include "stage_server/device/cuda/status.h"

// A candidate is issued so often for one measurement, so that what a launch costs the processor hides behind the GPU's work.
enum { REPETITIONS = 4 };

// The processor spins here: woken from a sleep it would be late by more than the kernels differ.
static cudaError_t wait_for(cudaStream_t stream)
{
	cudaError_t status = cudaStreamQuery(stream);
	while (status == cudaErrorNotReady) {
		(void)cudaGetLastError(); // no error
		status = cudaStreamQuery(stream);
	}
	return status;
}

struct run {
	struct program *program;
	const struct trial *trial;
};

static bool run_candidate(void *context, uint32_t candidate)
{
	const struct run *run = context;
	struct error error = {0};
	for (int i = 0; i < REPETITIONS; i++)
		if (!run->trial->issue(run->trial->context, candidate, &error))
			return false;
	return cuda_ok(wait_for(run->program->compute), &error, "wait for a trial");
}

uint32_t cuda_trial_choose(struct program *program, const struct trial *trial)
{
	struct run run = {.program = program, .trial = trial};
	struct tuning_question question = {
		.key = trial->key,
		.count = trial->count,
		.run = run_candidate,
		.context = &run,
		.stopped = program->stopped,
	};
	for (uint32_t i = 0; i < trial->count; i++)
		question.names[i] = trial->names[i];
	return tuning_choose(program->device->tuning, &question);
}
