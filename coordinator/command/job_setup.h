// What follows from the arguments of train and plan: the settings of DeepSpeed's file with the command line over them, the
// nodes and the plan.
#pragma once

#include "common/base/error.h"
#include "coordinator/command/job_arguments.h"
#include "coordinator/config/deepspeed_config.h"
#include "coordinator/config/hostfile.h"
#include "coordinator/plan/plan.h"

struct job_setup {
	struct deepspeed_config config; // its batch sizes resolved
	struct hostfile hostfile;       // empty without one
	uint32_t pipeline_size;
	struct plan *plan;
};

// Reads the files that the arguments name for it; asks no daemon. `arguments` is borrowed for the call.
bool job_setup_init(const struct job_arguments *arguments, struct job_setup *ret_setup, struct error *error);
void job_setup_fini(struct job_setup *setup);
