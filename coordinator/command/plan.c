// penstock plan
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/command/command.h"
#include "coordinator/command/job_setup.h"
#include "coordinator/command/plan_cells.h"
#include "coordinator/plan/fit.h"
#include "coordinator/report/json_output.h"
#include "coordinator/report/plan_json.h"

static const char introduction[] = "Usage: penstock plan [-p N] [--nodes N] [OPTION]...\n"
				   "       penstock plan --pipeline-sizes A,B,... --micro-batches A,B,...\n"
				   "                     --nodes A,B,... [OPTION]...\n"
				   "Prints a cut of the model and the memory that each stage would need. It trains\n"
				   "nothing. The second form does so for every cell of an experiment, with 4\n"
				   "micro-batches per step unless ds_config.json or --gradient-accumulation-steps\n"
				   "says otherwise.\n"
				   "\n";
static const char conclusion[] = "\n"
				 "Exit code 3: a stage does not fit --memory-limit.\n";

static bool plan_one(const struct job_arguments *arguments, FILE *json, struct error *error)
{
	struct job_nodes nodes;
	struct job_setup setup;
	char text[FIT_TEXT_SIZE];
	if (!job_nodes_read(arguments, &nodes, error))
		return false;
	uint32_t used = arguments->nodes > 0 ? arguments->nodes : job_nodes_count(&nodes);
	bool ok = job_setup_init(arguments, &nodes, NULL, &setup, error);
	job_nodes_fini(&nodes);
	if (!ok)
		return false;
	job_setup_warn(&setup, arguments);
	plan_print(setup.plan, stdout);
	if (arguments->fit && plan_fits(setup.plan))
		strings_write_wrapped(fit_describe(setup.plan, text, sizeof(text)), stdout);
	ok = (json == NULL || plan_json_write(json, setup.plan, used, error)) &&
	     (plan_fits(setup.plan) || fit_refuse(setup.plan, arguments->fit, error));
	job_setup_fini(&setup);
	return ok;
}

static bool plan_all(const struct job_arguments *arguments, FILE *json, struct error *error)
{
	bool all_fit;
	if (arguments->pipeline_sizes == NULL && arguments->micro_batch_sizes == NULL)
		return plan_one(arguments, json, error);
	return plan_cells(arguments, json, &all_fit, error) &&
	       (all_fit || error_set(error, ERROR_OUT_OF_MEMORY, "not every cell fits"));
}

int command_plan(int argc, char **argv)
{
	struct job_arguments arguments;
	struct error error;
	struct error close_error;
	struct json_output *output = NULL;
	int code;
	if (!command_goes_on(
		    job_arguments_parse(JOB_COMMAND_PLAN, argc, argv, introduction, conclusion, &arguments, &error),
		    &error, &code))
		return code;
	if (arguments.json != NULL && !json_output_open(arguments.json, &output, &error))
		return command_fail(&error);
	FILE *json = output != NULL ? json_output_stream(output) : NULL;
	bool ok = (output == NULL || json != NULL || error_set(&error, ERROR_FAILED, "out of memory")) &&
		  plan_all(&arguments, json, &error);
	if (!json_output_close(output, &close_error) && ok) {
		error = close_error;
		ok = false;
	}
	fflush(stdout); // before the error, on a terminal that has both
	return ok ? 0 : command_fail(&error);
}
