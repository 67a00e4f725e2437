// penstock plan
#include <stdio.h>

#include "coordinator/command/command.h"
#include "coordinator/command/job_options.h"

static const char usage[] = "Usage: penstock plan [-p N] [OPTION]...\n"
			    "Prints how the model would be cut and what each stage would need, and trains nothing.\n"
			    "Takes the options of penstock train.\n"
			    "\n";

int command_plan(int argc, char **argv)
{
	struct job_command command;
	struct error error;
	switch (job_command_read(argc, argv, usage, &command, &error)) {
	case JOB_COMMAND_DONE:
		return 0;
	case JOB_COMMAND_WRONG:
		return command_fail(&error);
	case JOB_COMMAND_RUN:
		break;
	}
	plan_print(command.plan, stdout);
	job_command_fini(&command);
	return 0;
}
