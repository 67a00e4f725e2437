// See sweep_arguments.h.
#include "coordinator/command/sweep_arguments.h"

#include "coordinator/command/job_setup.h"

static const char introduction[] = "Usage: penstock sweep --dataset PATH --output DIR\n"
				   "                      (-H HOSTFILE | --local [N]) [OPTION]...\n"
				   "Trains a few steps in every combination of nodes, pipeline size and micro-batch\n"
				   "size, one after another. Writes the results as a table, as data and as pictures.\n"
				   "The number of replicas is devices / stages.\n"
				   "\n";
static const char conclusion[] = "\n"
				 "Exit codes: 0 every cell is done or out of memory, 1 a cell failed, 2 wrong\n"
				 "usage, 4 a node was lost.\n";

static bool check(struct sweep_arguments *arguments, struct error *error)
{
	struct job_arguments *job = &arguments->job;
	if (job->output == NULL)
		return error_set(error, ERROR_USAGE, "--output DIR is missing; see penstock sweep --help");
	if (!grid_parse(job->pipeline_sizes, job->micro_batch_sizes, job->node_counts, &arguments->grid, error))
		return false;
	if (job->warm_up_steps >= job->steps)
		return error_set(
			error, ERROR_USAGE,
			"--steps %u: the first %u of each cell are warm-up (--warm-up), so no step would be measured",
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
