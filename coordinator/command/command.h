// The subcommands, one file each. Each gets its own arguments (argv[0] is its name), prints its own messages and returns
// the process's exit code.
#pragma once

int command_train(int argc, char **argv);
int command_plan(int argc, char **argv);
int command_nodes(int argc, char **argv);
int command_dataset(int argc, char **argv);

// "penstock: message" on stderr; returns the error's exit code.
struct error;
int command_fail(const struct error *error);
