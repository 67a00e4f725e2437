// The options of penstock sweep, and its cells. One thread.
#pragma once

#include "coordinator/command/job_arguments.h"
#include "coordinator/sweep/grid.h"

struct sweep_arguments {
	struct job_arguments job; // of what the cells decide there are only the lists in it
	struct grid grid;
	uint32_t
		gradient_accumulation_steps; // micro-batches per step and replica: the option's, the file's, or the default
};

// Reads the file that --deepspeed-config names, for the micro-batches per step.
enum options_result sweep_arguments_parse(int argc, char **argv, struct sweep_arguments *ret_arguments,
					  struct error *error);
