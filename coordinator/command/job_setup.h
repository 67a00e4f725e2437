// What follows from the arguments of a command, and from the nodes: how many stages and replicas there are, the settings of
// DeepSpeed's file with the command line over them, and the plan. One thread.
#pragma once

#include "common/base/error.h"
#include "coordinator/command/job_arguments.h"
#include "coordinator/command/job_nodes.h"
#include "coordinator/config/deepspeed_config.h"
#include "coordinator/dataset/dataset.h"
#include "coordinator/plan/plan.h"

struct job_setup {
	struct deepspeed_config config; // its batch sizes resolved
	uint32_t pipeline_size;         // stages, from 1: without a pipeline there is one
	uint32_t data_parallel_size;    // replicas, from 1
	struct plan *plan;              // with --fit the one that was found, which may not fit after all
};

// On the first `arguments->nodes` nodes, or all. Reads the files that the arguments name for it; asks no daemon. Arguments and
// nodes are borrowed for the call.
// The dataset is that whose images the first stage will get; NULL: images of 32 x 32.
bool job_setup_init(const struct job_arguments *arguments, const struct job_nodes *nodes, const struct dataset *dataset,
		    struct job_setup *ret_setup, struct error *error);
// With --fit: says once, on stderr, how the plan was made to fit; ERROR_OUT_OF_MEMORY where none does. Without it the daemons say whether
// it fits.
bool job_setup_check_fit(const struct job_setup *setup, const struct job_arguments *arguments, struct error *error);
void job_setup_fini(struct job_setup *setup);
// Micro-batches per step and replica of every cell: the option's, the file's, or 4.
bool job_setup_accumulation(const struct job_arguments *arguments, uint32_t *ret_steps, struct error *error);
// Logs which keys of the file and which options have no effect here.
void job_setup_warn(const struct job_setup *setup, const struct job_arguments *arguments);
