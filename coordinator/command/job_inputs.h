// What a job reads from files, besides its settings and the dataset: initial parameters; and the order of the samples. One thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "coordinator/checkpoint/safetensors.h"
#include "coordinator/command/job_arguments.h"
#include "coordinator/command/job_setup.h"
#include "coordinator/dataset/dataset.h"
#include "coordinator/dataset/sampler.h"

struct job_inputs {
	struct sampler *sampler;
	struct safetensors *load; // NULL: no --load
	bool *load_skips;         // [parameters] those that --skip-mismatched draws from the seed; NULL: no --load
};

// Finds everything that can be wrong in the files before a daemon is asked. The others are borrowed for the call.
bool job_inputs_read(const struct job_arguments *arguments, const struct job_setup *setup,
		     const struct dataset *dataset, struct job_inputs *ret_inputs, struct error *error);
// Says on stderr which dataset it is, and what becomes of them before the first layer, which PyTorch's user does in a transform.
void job_inputs_say(const struct plan *plan, const struct dataset *dataset);
void job_inputs_fini(struct job_inputs *inputs);
