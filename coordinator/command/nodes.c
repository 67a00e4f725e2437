// penstock nodes: asks each daemon of a hostfile what it is and does.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"
#include "coordinator/command/command.h"
#include "coordinator/command/describe.h"
#include "coordinator/command/tls_arguments.h"
#include "coordinator/config/hostfile.h"

enum { DEADLINE_MS = 5000, NETWORK_THREADS = 1, TEXT_SIZE = 100 };

static const char usage[] = "Usage: penstock nodes -H HOSTFILE [OPTION]...\n"
			    "Asks each daemon what it is and what it does.\n"
			    "\n"
			    "  -H, --hostfile FILE       the nodes, a line \"host[:port] slots=N\" each\n"
			    "\n" TLS_ARGUMENTS_HELP "\n"
			    "Exit code 4 when a daemon cannot be reached, 2 when one has fewer devices than the file "
			    "gives it slots, 1 when\n"
			    "one speaks another protocol version.\n";

// The texts are the daemon's, whatever it may be: they are cut, and cannot steer the terminal.
static void print_device(unsigned index, const Penstock__V1__Device *device)
{
	char used[32], limit[32], name[TEXT_SIZE];
	printf("  device %u, %s: ", index, strings_printable(device->name, name, sizeof(name)));
	if (device->threads > 0)
		printf("%u threads, ", device->threads);
	printf("%s of %s in use\n", strings_format_bytes(device->memory_used_bytes, used, sizeof(used)),
	       strings_format_bytes(device->memory_limit_bytes, limit, sizeof(limit)));
}

static void print_node(const char *address, const Penstock__V1__DescribeResponse *node)
{
	char memory[32], name[TEXT_SIZE], model[TEXT_SIZE];
	printf("%s: penstockd %s, protocol %u, up %" PRIu64 " s, %zu of %u sessions\n", address,
	       strings_printable(node->version, name, sizeof(name)), node->protocol_version, node->uptime_seconds,
	       node->n_running, node->maximum_sessions);
	for (size_t i = 0; i < node->n_devices; i++)
		print_device((unsigned)i, node->devices[i]);
	for (size_t i = 0; i < node->n_running; i++)
		printf("  job %s: %s, stage %u, step %" PRIu64 ", %s\n",
		       strings_printable(node->running[i]->job, name, sizeof(name)),
		       strings_printable(node->running[i]->model, model, sizeof(model)),
		       node->running[i]->pipeline_stage, node->running[i]->step,
		       strings_format_bytes(node->running[i]->memory_bytes, memory, sizeof(memory)));
}

static bool check_node(const struct host *host, const Penstock__V1__DescribeResponse *node, struct error *error)
{
	if (node->protocol_version != PROTOCOL_VERSION)
		return error_set(error, ERROR_VERSION,
				 "%s: speaks protocol version %u, this is version %d: install the same release",
				 host->address, node->protocol_version, PROTOCOL_VERSION);
	return host->slots <= node->n_devices ||
	       error_set(error, ERROR_USAGE,
			 "%s: has %zu devices, the hostfile has slots=%u: a slot is a device, so write slots=%zu, or "
			 "start "
			 "the daemon with a --device for each",
			 host->address, node->n_devices, host->slots, node->n_devices);
}

static bool ask(const struct host *host, struct rpc_tls *tls, struct error *error)
{
	const char *address = host->address;
	Penstock__V1__DescribeResponse *node;
	if (!describe(address, tls, DEADLINE_MS, &node, error))
		return error_wrap(error, error->code == ERROR_UNREACHABLE ? "%s cannot be reached" : "%s", address);
	print_node(address, node);
	bool ok = check_node(host, node, error);
	penstock__v1__describe_response__free_unpacked(node, NULL);
	return ok;
}

int command_nodes(int argc, char **argv)
{
	static const struct option known[] = {{"hostfile", required_argument, NULL, 'H'},
					      TLS_ARGUMENTS_ROWS,
					      {"help", no_argument, NULL, COMMAND_OPTION_HELP},
					      {0}};
	const char *path = NULL;
	struct tls_arguments tls_arguments = {0};
	struct rpc_tls *tls;
	struct error error;
	int code;
	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, ":H:h", known, NULL)) != -1) {
		if (code == 'h' || code == COMMAND_OPTION_HELP) {
			fputs(usage, stdout);
			return 0;
		}
		bool ok;
		if (tls_arguments_take(&tls_arguments, code, &ok, &error)) {
			if (!ok)
				return command_fail(&error);
			continue;
		}
		if (code != 'H') {
			command_refuse_option(code, argv, &error);
			return command_fail(&error);
		}
		path = optarg;
	}
	if (optind < argc) {
		error_set(&error, ERROR_USAGE, "unexpected argument \"%.80s\"; see penstock nodes --help",
			  argv[optind]);
		return command_fail(&error);
	}
	if (path == NULL || *path == '\0') {
		error_set(&error, ERROR_USAGE, "-H HOSTFILE is missing; see penstock nodes --help");
		return command_fail(&error);
	}
	struct hostfile hostfile;
	if (!tls_arguments_open(&tls_arguments, &tls, &error) || !hostfile_read(path, &hostfile, &error) ||
	    !rpc_start(NETWORK_THREADS, &error))
		return command_fail(&error);
	int exit_code = 0;
	for (uint32_t i = 0; i < hostfile.count; i++)
		if (!ask(&hostfile.hosts[i], tls, &error)) { // and goes on: the others are of interest, too
			int code = command_fail(&error);
			if (code > exit_code) // a node that is not there outweighs one that is of no use
				exit_code = code;
		}
	rpc_stop();
	hostfile_fini(&hostfile);
	rpc_tls_destroy(tls);
	return exit_code;
}
