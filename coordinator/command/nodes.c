// penstock nodes: asks each daemon what it is and does.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"
#include "coordinator/command/command.h"
#include "coordinator/command/nodes_arguments.h"
#include "coordinator/command/nodes_json.h"
#include "coordinator/daemons/poll.h"
#include "coordinator/view/table.h"
#include "coordinator/view/text.h"

enum { DEADLINE_MS = 5000, NETWORK_THREADS = 1, BYTES_SIZE = 32, LIST_SIZE = 200 };

static const char usage[] =
	"Usage: penstock nodes -H HOSTFILE\n"
	"       penstock nodes HOST[:PORT]...\n"
	"Asks each daemon what it is and what it does; all at once, for 5 seconds at most.\n"
	"\n"
	"  -H, --hostfile FILE       the nodes, a line \"host[:port] slots=N\" each\n"
	"  --json FILE               a JSON object a daemon, on a line each; - is standard output, in\n"
	"                            the place of the tables\n"
	"\n" TLS_ARGUMENTS_HELP "\n"
	"Exit code 4 when a daemon cannot be reached or is stopping, 2 when one has fewer devices than\n"
	"the file gives it slots, 1 when one speaks another protocol version.\n";

// ---- The tables

static void format_uptime(uint64_t seconds, char *into, size_t size)
{
	uint64_t days = seconds / 86400, hours = seconds / 3600 % 24, minutes = seconds / 60 % 60;
	if (days > 0)
		snprintf(into, size, "%" PRIu64 " d %" PRIu64 " h", days, hours);
	else if (hours > 0)
		snprintf(into, size, "%" PRIu64 " h %" PRIu64 " min", hours, minutes);
	else if (minutes > 0)
		snprintf(into, size, "%" PRIu64 " min %" PRIu64 " s", minutes, seconds % 60);
	else
		snprintf(into, size, "%" PRIu64 " s", seconds);
}

// Slots that name the same device share its memory: the first of them speaks for it.
static bool is_first(const Penstock__V1__DescribeResponse *node, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(node->devices[i]->name, node->devices[index]->name) == 0)
			return false;
	return true;
}

static void add_to_list(const char *text, char *list, size_t size)
{
	size_t used = strlen(list);
	snprintf(list + used, size - used, "%s%s", used > 0 ? ", " : "", text);
}

static void add_devices(struct table *table, const Penstock__V1__DescribeResponse *node)
{
	char used[BYTES_SIZE], limit[BYTES_SIZE], names[LIST_SIZE] = "";
	uint64_t used_bytes = 0, limit_bytes = 0;
	for (size_t i = 0; i < node->n_devices && strlen(names) + 1 < sizeof(names); i++) {
		add_to_list(node->devices[i]->name, names, sizeof(names));
		if (is_first(node, i)) {
			used_bytes += node->devices[i]->memory_used_bytes;
			limit_bytes += node->devices[i]->memory_limit_bytes;
		}
	}
	table_cell(table, "%s", names);
	table_cell(table, "%s of %s", strings_format_bytes(used_bytes, used, sizeof(used)),
		   strings_format_bytes(limit_bytes, limit, sizeof(limit)));
}

// Each job's name once: it may have several stages here.
static void add_jobs(struct table *table, const Penstock__V1__DescribeResponse *node)
{
	char names[LIST_SIZE] = "";
	for (size_t i = 0; i < node->n_running && strlen(names) + 1 < sizeof(names); i++) {
		bool seen = false;
		for (size_t k = 0; k < i; k++)
			seen = seen || strcmp(node->running[k]->job, node->running[i]->job) == 0;
		if (!seen)
			add_to_list(node->running[i]->job, names, sizeof(names));
	}
	table_cell(table, "%s", node->n_running > 0 ? names : "-");
}

static void add_node(struct table *table, const struct poll_node *asked)
{
	const Penstock__V1__DescribeResponse *node = asked->answer;
	char uptime[BYTES_SIZE];
	table_cell(table, "%s", asked->host->address);
	if (node == NULL) {
		table_cell(table, "-");
		table_cell(table, "-");
		table_cell(table, asked->has_health ? poll_health_name(asked) : "no answer");
		for (int i = 0; i < 5; i++)
			table_cell(table, "-");
		return;
	}
	format_uptime(node->uptime_seconds, uptime, sizeof(uptime));
	table_cell(table, "%s", node->version);
	table_cell(table, "%u", node->protocol_version);
	table_cell(table, "%s", poll_health_name(asked));
	table_cell(table, "%s", uptime);
	add_devices(table, node);
	table_cell(table, "%zu of %u", node->n_running, node->maximum_sessions);
	add_jobs(table, node);
}

static struct table *make_nodes(const struct poll *poll)
{
	static const struct table_column columns[] = {{"NODE", false},   {"VERSION", false}, {"PROTOCOL", true},
						      {"HEALTH", false}, {"UP", true},       {"DEVICES", false},
						      {"MEMORY", true},  {"SESSIONS", true}, {"JOBS", false}};
	struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));
	for (uint32_t i = 0; table != NULL && i < poll_count(poll); i++)
		add_node(table, poll_node(poll, i));
	return table;
}

static void add_device(struct table *table, const char *address, size_t index, const Penstock__V1__Device *device)
{
	char used[BYTES_SIZE], limit[BYTES_SIZE];
	table_cell(table, "%s", address);
	table_cell(table, "%zu", index);
	table_cell(table, "%s", device->name);
	if (device->threads > 0)
		table_cell(table, "%u", device->threads);
	else
		table_cell(table, "-");
	table_cell(table, "%s", strings_format_bytes(device->memory_used_bytes, used, sizeof(used)));
	table_cell(table, "%s", strings_format_bytes(device->memory_limit_bytes, limit, sizeof(limit)));
}

static struct table *make_devices(const struct poll *poll)
{
	static const struct table_column columns[] = {{"NODE", false},   {"SLOT", true}, {"DEVICE", false},
						      {"THREADS", true}, {"USED", true}, {"LIMIT", true}};
	struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));
	for (uint32_t i = 0; table != NULL && i < poll_count(poll); i++) {
		const struct poll_node *node = poll_node(poll, i);
		for (size_t k = 0; node->answer != NULL && k < node->answer->n_devices; k++)
			add_device(table, node->host->address, k, node->answer->devices[k]);
	}
	return table;
}

static void add_stage(struct table *table, const char *address, const Penstock__V1__RunningStage *stage)
{
	char memory[BYTES_SIZE];
	table_cell(table, "%s", address);
	table_cell(table, "%u", stage->device_index);
	table_cell(table, "%s", stage->job);
	table_cell(table, "%s", stage->model);
	table_cell(table, "%u", stage->pipeline_stage);
	table_cell(table, "%u", stage->replica);
	table_cell(table, "%" PRIu64, stage->step);
	table_cell(table, "%s", strings_format_bytes(stage->memory_bytes, memory, sizeof(memory)));
}

static struct table *make_stages(const struct poll *poll)
{
	static const struct table_column columns[] = {{"NODE", false},  {"SLOT", true},  {"JOB", false},
						      {"MODEL", false}, {"STAGE", true}, {"REPLICA", true},
						      {"STEP", true},   {"MEMORY", true}};
	struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));
	for (uint32_t i = 0; table != NULL && i < poll_count(poll); i++) {
		const struct poll_node *node = poll_node(poll, i);
		for (size_t k = 0; node->answer != NULL && k < node->answer->n_running; k++)
			add_stage(table, node->host->address, node->answer->running[k]);
	}
	return table;
}

static bool has_devices(const struct poll *poll)
{
	for (uint32_t i = 0; i < poll_count(poll); i++)
		if (poll_node(poll, i)->answer != NULL && poll_node(poll, i)->answer->n_devices > 0)
			return true;
	return false;
}

static bool has_stages(const struct poll *poll)
{
	for (uint32_t i = 0; i < poll_count(poll); i++)
		if (poll_node(poll, i)->answer != NULL && poll_node(poll, i)->answer->n_running > 0)
			return true;
	return false;
}

// Takes the table.
static bool print_table(struct table *table)
{
	bool ok = table != NULL && table_write(table, stdout);
	table_destroy(table);
	return ok;
}

static bool print_tables(const struct poll *poll)
{
	bool ok = print_table(make_nodes(poll));
	if (ok && has_devices(poll)) {
		fputc('\n', stdout);
		ok = print_table(make_devices(poll));
	}
	if (ok && has_stages(poll)) {
		fputc('\n', stdout);
		ok = print_table(make_stages(poll));
	}
	fflush(stdout);
	return ok;
}

// ---- JSON

static bool write_json(const struct poll *poll, const char *path, struct error *error)
{
	bool is_output = strcmp(path, "-") == 0;
	FILE *out = is_output ? stdout : fopen(path, "we");
	if (out == NULL)
		return error_set(error, ERROR_USAGE, "--json %s: %s", path, strerror(errno));
	bool ok = true;
	for (uint32_t i = 0; i < poll_count(poll) && ok; i++)
		ok = nodes_json_write(poll_node(poll, i), out);
	if (!ok)
		error_set(error, ERROR_FAILED, "--json %s: out of memory", path);
	bool written = is_output || fclose(out) == 0; // main sees what becomes of standard output
	return ok && (written || error_set(error, ERROR_FAILED, "--json %s: could not be written whole: %s", path,
					   strerror(errno)));
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
				 "%s: speaks protocol version %u, this is version %d: install the same release",
				 host->address, node->answer->protocol_version, PROTOCOL_VERSION);
	if (has_slots && host->slots > node->answer->n_devices)
		return error_set(error, ERROR_USAGE,
				 "%s: has %zu devices, the hostfile has slots=%u: a slot is a device, so write "
				 "slots=%zu, or start the daemon with a --device for each",
				 host->address, node->answer->n_devices, host->slots, node->answer->n_devices);
	return !node->has_health ||
	       node->health != GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING ||
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
	struct error error;
	poll_begin(poll, DEADLINE_MS);
	poll_end(poll);
	if (arguments->json != NULL && !write_json(poll, arguments->json, &error))
		return command_fail(&error);
	if ((arguments->json == NULL || strcmp(arguments->json, "-") != 0) && !print_tables(poll)) {
		error_set(&error, ERROR_FAILED, "out of memory");
		return command_fail(&error);
	}
	return complain(poll, arguments->has_slots);
}

int command_nodes(int argc, char **argv)
{
	struct nodes_arguments arguments;
	struct poll *poll = NULL;
	struct error error;
	if (!nodes_arguments_parse(argc, argv, NODES_COMMAND_NODES, &arguments, &error))
		return command_fail(&error);
	if (arguments.help) {
		fputs(usage, stdout);
		return 0;
	}
	text_use_utf8();
	int code = rpc_start(NETWORK_THREADS, &error) ? 0 : command_fail(&error);
	if (code == 0) {
		code = poll_create(&arguments.hosts, arguments.tls, &poll, &error) ? show(&arguments, poll)
										   : command_fail(&error);
		poll_destroy(poll);
		rpc_stop();
	}
	nodes_arguments_fini(&arguments);
	return code;
}
