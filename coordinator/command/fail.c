// How every command ends that does not end well.
#include <stdio.h>

#include "common/base/error.h"
#include "common/base/strings.h"
#include "coordinator/command/command.h"

int command_fail(const struct error *error)
{
	char message[ERROR_MESSAGE_SIZE]; // may quote a file, or a daemon
	fprintf(stderr, "penstock: %s\n", strings_printable(error->message, message, sizeof(message)));
	return error_exit_code(error);
}
