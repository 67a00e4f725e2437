// The subcommands, one file each. Each gets its own arguments (argv[0] is its name), prints its own messages and returns
// the process's exit code.
#pragma once

#include <stdbool.h>

#include "common/options/table.h"

int command_train(int argc, char **argv);
int command_plan(int argc, char **argv);
int command_sweep(int argc, char **argv);
int command_prove(int argc, char **argv);
int command_nodes(int argc, char **argv);
int command_top(int argc, char **argv);
int command_dataset(int argc, char **argv);

// "penstock: message" on stderr; returns the error's exit code.
int command_fail(const struct error *error);
// SIGINT, SIGTERM and SIGHUP end the job that runs (job_interrupt), and are remembered; a pipe that breaks is an error, not the end.
// The main thread, before any other is begun. Programs that it begins later inherit the mask: they are to be given an empty one.
void command_catch_signals(void);
bool command_is_interrupted(void);
// Whether there is something to run after options were parsed. If not, `*ret_code` is the exit code, and a mistake has been printed.
bool command_goes_on(enum options_result result, const struct error *error, int *ret_code);

#define COMMAND_VERSION "penstock " PENSTOCK_VERSION
