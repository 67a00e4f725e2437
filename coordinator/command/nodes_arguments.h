// The command line of the commands that only ask daemons: `nodes` and `top`. One thread.
#pragma once

#include "common/options/table.h"
#include "coordinator/command/tls_arguments.h"
#include "coordinator/config/hostfile.h"

enum nodes_command { NODES_COMMAND_NODES, NODES_COMMAND_TOP };

struct nodes_arguments {
	const char *hostfile; // NULL: hosts are named one by one, and have no slots to hold against
	const char *json;
	const char *job;
	double interval_s;
	uint64_t iterations; // 0: no end
	struct tls_arguments tls_arguments;

	struct hostfile hosts;
	struct rpc_tls *tls; // NULL: without
};

// Reads the hostfile and the TLS files, too.
enum options_result nodes_arguments_parse(enum nodes_command command, int argc, char **argv, const char *introduction,
					  const char *conclusion, struct nodes_arguments *ret_arguments,
					  struct error *error);
void nodes_arguments_fini(struct nodes_arguments *arguments); // after rpc_stop
