// See sweep_arguments.h.
#include "coordinator/command/sweep_arguments.h"

#include "coordinator/command/job_setup.h"

static const char introduction[] =
	"Usage: penstock sweep --dataset PATH --output DIR (-H HOSTFILE | --local [N]) [OPTION]...\n"
	"Trains a little in every combination of nodes, pipeline size and micro-batch size, one after another,\n"
	"and writes what came of it as a table, as data and as a picture. The nodes decide the replicas: devices /\n"
	"stages.\n"
	"\n";
static const char conclusion[] = "\n"
				 "Exit codes: 0 every cell is done or out of memory, 1 one failed otherwise, 2 wrong "
				 "usage, 4 a node was lost.\n";

static bool check(struct sweep_arguments *arguments, struct error *error)
{
	struct job_arguments *job = &arguments->job;
	if (job->output == NULL)
		return error_set(error, ERROR_USAGE, "--output DIR is missing; see penstock sweep --help");
	if (!grid_parse(job->pipeline_sizes, job->micro_batch_sizes, job->node_counts, &arguments->grid, error))
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

enum options_result sweep_arguments_parse(int argc, char **argv, struct sweep_arguments *ret_arguments,
					  struct error *error)
{
	struct sweep_arguments arguments = {0};
	enum options_result result =
		job_arguments_parse(JOB_COMMAND_SWEEP, argc, argv, introduction, conclusion, &arguments.job, error);
	if (result != OPTIONS_RUN)
		return result;
	if (!check(&arguments, error))
		return OPTIONS_WRONG;
	*ret_arguments = arguments;
	return OPTIONS_RUN;
}
