// How every command ends that does not end well, or has nothing to do.
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/strings.h"
#include "coordinator/command/command.h"

int command_fail(const struct error *error)
{
	char message[ERROR_MESSAGE_SIZE], *rest = message; // may quote a file, or a daemon
	snprintf(message, sizeof(message), "%s", error->message);
	fputs("penstock: ", stderr);
	while (rest != NULL) { // a list of mistakes has a line for each
		char *line = strsep(&rest, "\n");
		strings_make_printable(line);
		fprintf(stderr, "%s\n", line);
	}
	return error_exit_code(error);
}

bool command_goes_on(enum options_result result, const struct error *error, int *ret_code)
{
	if (result != OPTIONS_RUN)
		*ret_code = result == OPTIONS_WRONG ? command_fail(error) : 0;
	return result == OPTIONS_RUN;
}
