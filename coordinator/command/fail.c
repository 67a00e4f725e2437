// How every command ends that does not end well.
#include <stdio.h>

#include "common/base/error.h"
#include "coordinator/command/command.h"

int command_fail(const struct error *error)
{
	fprintf(stderr, "penstock: %s\n", error->message);
	return error_exit_code(error);
}
