// penstock plan
#include <stdio.h>

#include "coordinator/command/command.h"
#include "coordinator/command/job_setup.h"

static const char usage[] = "Usage: penstock plan [-p N] [--nodes N] [OPTION]...\n"
			    "Prints how the model would be cut and what each stage would need, and trains nothing.\n"
			    "Takes the options of penstock train.\n"
			    "\n";

int command_plan(int argc, char **argv)
{
	struct job_arguments arguments;
	struct job_nodes nodes;
	struct job_setup setup;
	struct error error;
	switch (job_arguments_parse(argc, argv, usage, &arguments, &error)) {
	case JOB_ARGUMENTS_DONE:
		return 0;
	case JOB_ARGUMENTS_WRONG:
		return command_fail(&error);
	case JOB_ARGUMENTS_RUN:
		break;
	}
	if (!job_nodes_read(&arguments, &nodes, &error))
		return command_fail(&error);
	bool ok = job_setup_init(&arguments, &nodes, &setup, &error);
	job_nodes_fini(&nodes);
	if (!ok)
		return command_fail(&error);
	plan_print(setup.plan, stdout);
	job_setup_fini(&setup);
	return 0;
}
