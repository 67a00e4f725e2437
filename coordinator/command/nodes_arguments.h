// The command line of the commands that only ask daemons: `nodes` and `top`.
#pragma once

#include "coordinator/command/tls_arguments.h"
#include "coordinator/config/hostfile.h"

enum nodes_command { NODES_COMMAND_NODES = 1, NODES_COMMAND_TOP = 2 };

struct nodes_arguments {
	struct hostfile hosts;
	struct rpc_tls *tls; // NULL: without
	bool has_slots;      // of a hostfile; hosts named one by one have none to hold against
	bool help;           // asked for: nothing else is set
	const char *json;
	const char *job;
	uint32_t interval_ms;
	uint64_t iterations; // 0: no end
};

// Reads the hostfile and the TLS files, too.
bool nodes_arguments_parse(int argc, char **argv, enum nodes_command command, struct nodes_arguments *ret_arguments,
			   struct error *error);
void nodes_arguments_fini(struct nodes_arguments *arguments); // after rpc_stop
