// How every command ends that does not end well.
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/strings.h"
#include "coordinator/command/command.h"

int command_fail(const struct error *error)
{
	char message[ERROR_MESSAGE_SIZE]; // may quote a file, or a daemon
	fprintf(stderr, "penstock: %s\n", strings_printable(error->message, message, sizeof(message)));
	return error_exit_code(error);
}

bool command_refuse_option(int code, char **argv, struct error *error)
{
	const char letter[] = {'-', (char)optopt, '\0'};
	const char *option = argv[optind - 1];
	const char *why = code == ':'   ? "needs a value"
			  : optopt != 0 ? "takes no value"
					: "is unknown, or short for several";
	// A letter: of "-xy" getopt may still be at the word, and then the last word is the one before.
	if (code == '?' && optopt > 0 && optopt < COMMAND_OPTION_HELP) {
		option = letter;
		why = "is unknown";
	}
	return error_set(error, ERROR_USAGE, "option %.80s %s; see penstock %s --help", option, why, argv[0]);
}
