// penstock: coordinates training jobs over stage daemons.
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/descriptors.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "common/rpc/rpc.h"
#include "coordinator/command/command.h"

static const char usage[] = "Usage: penstock COMMAND [OPTION]...\n"
			    "\n"
			    "  train                     trains a model over stage daemons\n"
			    "  prove                     trains with and without a pipeline; compares bits\n"
			    "  plan                      prints how a model would be cut, and trains nothing\n"
			    "  sweep                     trains a few steps in each of many settings\n"
			    "  nodes                     shows the version, state and devices of each daemon\n"
			    "  top                       shows the stages of running jobs, live\n"
			    "  dataset synthesize DIR    draws a small data set in CIFAR-10's format\n"
			    "\n"
			    "penstock COMMAND --help says more. Exit codes: 0 done, 1 failed, 2 wrong usage,\n"
			    "3 out of memory (the plan does not fit), 4 a node could not be reached or was\n"
			    "lost.\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"train", command_train}, {"prove", command_prove}, {"plan", command_plan},       {"sweep", command_sweep},
	{"nodes", command_nodes}, {"top", command_top},     {"dataset", command_dataset},
};

static int run(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "--help";
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		fputs(usage, argc > 1 ? stdout : stderr);
		return argc > 1 ? 0 : 2;
	}
	if (strcmp(name, "--version") == 0) {
		puts(COMMAND_VERSION);
		return 0;
	}
	struct strings_guess guess = {.word = name};
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		strings_guess_try(&guess, commands[i].name);
		if (strcmp(commands[i].name, name) != 0)
			continue;
		descriptors_allow_all(); // one or more for each daemon
		return commands[i].run(argc - 1, argv + 1);
	}
	struct error error;
	char hint[STRINGS_GUESS_SIZE];
	error_set(&error, ERROR_USAGE, "unknown command \"%.40s\"%s; see penstock --help", name,
		  strings_guess_write(&guess, "", hint, sizeof(hint)));
	return command_fail(&error);
}

int main(int argc, char **argv)
{
	descriptors_reserve_standard();
	signal(SIGXFSZ, SIG_IGN); // a file over the limit (ulimit -f) is an error of that file: EFBIG
	int code = run(argc, argv);
	struct error error;
	if (file_flush_output(&error) || code != 0)
		rpc_exit(code);
	return command_fail(&error);
}
