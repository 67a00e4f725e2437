// See trial.h.
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

static bool run_candidate(void *context, uint32_t candidate)
{
	const struct trial *trial = context;
	struct error error = {0};
	for (int i = 0; i < REPETITIONS; i++)
		if (!trial->issue(trial, candidate, &error))
			return false;
	return cuda_ok(wait_for(trial->program->compute), &error, "wait for a trial");
}

void cuda_ask(struct program *program, struct layer_state *state, enum pass pass, const char *key,
	      bool (*issue)(const struct trial *trial, uint32_t candidate, struct error *error))
{
	struct choice *question = choices_add(&program->choices, state->index, key);
	state->trials[pass] = (struct trial){.program = program, .state = state, .pass = pass, .issue = issue};
	question->run = run_candidate;
	question->context = &state->trials[pass];
	state->question[pass] = question;
}
