// What a job reads from files, besides its settings: the dataset and the order of its samples, and initial parameters. One thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "coordinator/checkpoint/safetensors.h"
#include "coordinator/command/job_arguments.h"
#include "coordinator/command/job_setup.h"
#include "coordinator/dataset/cifar.h"
#include "coordinator/dataset/sampler.h"

struct job_inputs {
	struct cifar dataset;
	struct sampler *sampler;
	struct safetensors *load; // NULL: no --load
	bool *load_skips;         // [parameters] those that --skip-mismatched draws from the seed; NULL: no --load
};

// Finds everything that can be wrong in the files before a daemon is asked. Arguments and setup are borrowed for the call.
bool job_inputs_read(const struct job_arguments *arguments, const struct job_setup *setup,
		     struct job_inputs *ret_inputs, struct error *error);
// Says on stderr how many images there are, and what becomes of them before the first layer, which PyTorch's user does in a transform.
void job_inputs_say(const struct plan *plan, const struct job_inputs *inputs);
void job_inputs_fini(struct job_inputs *inputs);
