// See sweep_arguments.h.
#include "coordinator/command/sweep_arguments.h"

#include "coordinator/command/job_setup.h"

static const char usage[] =
	"Usage: penstock sweep --dataset DIR --output DIR (-H HOSTFILE | --local [N]) [OPTION]...\n"
	"Trains a little in every combination of nodes, pipeline size and micro-batch size, one after another,\n"
	"and writes what came of it as a table, as data and as a picture.\n"
	"\n"
	"  --pipeline-sizes A,B,...  stages; 0: no pipeline, every device holds the whole model (default 0,2,4)\n"
	"  --micro-batches A,B,...   samples in a micro-batch (default 128,64)\n"
	"  --nodes A,B,...           the first so many nodes (default 1,2,4)\n"
	"  --local [N]               N daemons on this machine (default: the largest number of nodes)\n"
	"  --output DIR              sweep.md, .csv, .json, .png and .svg; a sweep that is there is gone on with\n"
	"  --warm-up N               of each cell's --steps, the first N are not measured (default 2)\n"
	"  --gradient-accumulation-steps N\n"
	"                            micro-batches per step and replica (default: that of ds_config.json, or 4);\n"
	"                            the train batch grows with the replicas\n"
	"\n"
	"The nodes decide the replicas: devices / stages. Of the options below, -p, --micro-batch-size,\n"
	"--train-batch-size, --load, --save and --json have no place here. Exit codes: 0 every cell is done or out of\n"
	"memory, 1 one failed otherwise, 2 wrong usage, 4 a node was lost.\n"
	"\n";

static const char *given_or(const char *given, const char *otherwise)
{
	return given != NULL ? given : otherwise;
}

static bool check(struct sweep_arguments *arguments, struct error *error)
{
	struct job_arguments *job = &arguments->job;
	if (job->output == NULL)
		return error_set(error, ERROR_USAGE, "--output DIR is missing; see penstock sweep --help");
	if (!grid_parse(given_or(job->pipeline_sizes, "0,2,4"), given_or(job->micro_batch_sizes, "128,64"),
			given_or(job->node_counts, "1,2,4"), &arguments->grid, error))
		return false;
	if (job->warm_up_steps >= job->steps)
		return error_set(error, ERROR_USAGE,
				 "--steps %u: of each cell's steps %u are for warming up (--warm-up), and none would "
				 "be measured",
				 (unsigned)job->steps, job->warm_up_steps);
	if (job->local_for_all)
		job->local = grid_most_nodes(&arguments->grid);
	return job_setup_accumulation(job, &arguments->gradient_accumulation_steps, error);
}

enum job_arguments_result sweep_arguments_parse(int argc, char **argv, struct sweep_arguments *ret_arguments,
						struct error *error)
{
	struct sweep_arguments arguments = {0};
	enum job_arguments_result result =
		job_arguments_parse(JOB_COMMAND_SWEEP, argc, argv, usage, &arguments.job, error);
	if (result != JOB_ARGUMENTS_RUN)
		return result;
	if (!check(&arguments, error))
		return JOB_ARGUMENTS_WRONG;
	*ret_arguments = arguments;
	return JOB_ARGUMENTS_RUN;
}
