// penstock nodes: asks each daemon what it is and does.
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"
#include "coordinator/command/command.h"
#include "coordinator/command/nodes_arguments.h"
#include "coordinator/command/nodes_json.h"
#include "coordinator/command/nodes_tables.h"
#include "coordinator/daemons/poll.h"
#include "coordinator/report/json_output.h"
#include "coordinator/view/text.h"

enum { DEADLINE_MS = 5000, NETWORK_THREADS = 1 };

static const char introduction[] = "Usage: penstock nodes -H HOSTFILE\n"
				   "       penstock nodes HOST[:PORT]...\n"
				   "Shows the version, state and devices of each daemon. All daemons are asked at\n"
				   "once, and have 5 seconds to answer.\n"
				   "\n"
				   "\n";
static const char conclusion[] = "\n"
				 "Exit codes: 4 a daemon cannot be reached or is stopping, 2 a daemon has fewer\n"
				 "devices than the hostfile has slots for it, 1 a daemon has another protocol\n"
				 "version.\n";

// ---- JSON

static bool write_json(const struct poll *poll, struct json_output *output, struct error *error)
{
	FILE *out = json_output_stream(output);
	bool ok = out != NULL || error_set(error, ERROR_FAILED, "--json: out of memory");
	for (uint32_t i = 0; i < poll_count(poll) && ok; i++)
		ok = nodes_json_write(poll_node(poll, i), out, error);
	return ok;
}

// ---- What is wrong with a node

static bool check_node(const struct poll_node *node, bool has_slots, struct error *error)
{
	const struct host *host = node->host;
	if (node->answer == NULL) {
		poll_complaint(node, error);
		return false;
	}
	if (node->answer->protocol_version != PROTOCOL_VERSION)
		return error_set(error, ERROR_VERSION,
				 "%s: has protocol version %u, this program has %d: install the same release",
				 host->address, node->answer->protocol_version, PROTOCOL_VERSION);
	if (has_slots && host->slots > node->answer->device_count)
		return error_set(error, ERROR_USAGE,
				 "%s: has %u device%s, the hostfile has slots=%u: a slot is a device, so write "
				 "slots=%u, or start the daemon with a --device for each",
				 host->address, node->answer->device_count, strings_plural(node->answer->device_count),
				 host->slots, node->answer->device_count);
	return !node->has_health || node->health != HEALTH_NOT_SERVING ||
	       error_set(error, ERROR_UNREACHABLE, "%s: is stopping, and takes no new jobs", host->address);
}

// All of them are named; a node that is not there outweighs one that is of no use.
static int complain(const struct poll *poll, bool has_slots)
{
	int exit_code = 0;
	for (uint32_t i = 0; i < poll_count(poll); i++) {
		struct error error;
		if (check_node(poll_node(poll, i), has_slots, &error))
			continue;
		int code = command_fail(&error);
		if (code > exit_code)
			exit_code = code;
	}
	return exit_code;
}

static int show(const struct nodes_arguments *arguments, struct poll *poll)
{
	struct error error, close_error;
	struct json_output *output = NULL;
	if (arguments->json != NULL && !json_output_open(arguments->json, &output, &error))
		return command_fail(&error);
	poll_begin(poll, DEADLINE_MS);
	poll_end(poll);
	bool ok = output == NULL || write_json(poll, output, &error);
	if (!json_output_close(output, &close_error) && ok) {
		error = close_error;
		ok = false;
	}
	if (!ok)
		return command_fail(&error);
	if ((arguments->json == NULL || strcmp(arguments->json, "-") != 0) && !nodes_tables_print(poll)) {
		error_set(&error, ERROR_FAILED, "out of memory");
		return command_fail(&error);
	}
	return complain(poll, arguments->hostfile != NULL);
}

int command_nodes(int argc, char **argv)
{
	struct nodes_arguments arguments;
	struct poll *poll = NULL;
	struct error error;
	int code;
	if (!command_goes_on(nodes_arguments_parse(NODES_COMMAND_NODES, argc, argv, introduction, conclusion,
						   &arguments, &error),
			     &error, &code))
		return code;
	text_use_utf8();
	code = rpc_start(NETWORK_THREADS, &error) ? 0 : command_fail(&error);
	if (code == 0) {
		code = poll_create(&arguments.hosts, arguments.tls, &poll, &error) ? show(&arguments, poll)
										   : command_fail(&error);
		poll_destroy(poll);
		rpc_stop();
	}
	nodes_arguments_fini(&arguments);
	return code;
}
