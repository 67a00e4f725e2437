// The options of penstock sweep: its own, and those of train that mean the same for every cell.
#pragma once

#include "coordinator/command/job_arguments.h"
#include "coordinator/sweep/grid.h"

struct sweep_arguments {
	struct job_arguments job; // of what the cells decide there is nothing in it
	struct grid grid;
	const char *output;
	uint32_t warm_up_steps;
	uint32_t micro_batches; // per step and replica: the option's, the file's, or the default
};

// Takes its own options out of `argv` (which is changed) and leaves the rest to job_arguments_parse. Reads the file that
// --deepspeed-config names, for the micro-batches per step.
enum job_arguments_result sweep_arguments_parse(int argc, char **argv, struct sweep_arguments *ret_arguments,
						struct error *error);
