// The options that train and plan share, and what follows from them: the model, the settings of DeepSpeed's file with the
// command line over them, the nodes, the plan.
#pragma once

#include "common/base/error.h"
#include "coordinator/config/deepspeed_config.h"
#include "coordinator/config/hostfile.h"
#include "coordinator/plan/plan.h"

struct job_command {
	// As given; strings stay in argv.
	const char *model_name, *dataset, *deepspeed_config, *hostfile_path, *schedule, *partition_method, *split;
	const char *load, *save, *json, *memory_limit;
	uint32_t image_size, classes, pipeline_size /* 0: not given */, local, threads;
	uint32_t connections, chunk_bytes;
	uint64_t steps, seed;
	double dropout; // < 0: the model's
	bool shuffle;
	// What was derived.
	struct deepspeed_config config;
	struct hostfile hostfile;
	struct model model;
	struct plan *plan;
};

enum job_command_result { JOB_COMMAND_RUN, JOB_COMMAND_DONE /* --help */, JOB_COMMAND_WRONG };

// Reads the arguments and every file they name, and makes the plan. `usage` is printed for --help.
enum job_command_result job_command_read(int argc, char **argv, const char *usage, struct job_command *ret_command,
					 struct error *error);
void job_command_fini(struct job_command *command);

extern const char job_command_options_help[]; // the shared part of --help
