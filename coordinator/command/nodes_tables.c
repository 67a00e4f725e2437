// See nodes_tables.h.
#include "coordinator/command/nodes_tables.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/strings.h"
#include "coordinator/report/terminal.h"
#include "coordinator/view/table.h"

enum { BYTES_SIZE = 32, LIST_SIZE = 200 };

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

static void add_to_list(const char *text, char *list, size_t size)
{
	size_t used = strlen(list);
	snprintf(list + used, size - used, "%s%s", used > 0 ? ", " : "", text);
}

// Each job's name once: it may have several stages here.
static void add_jobs(struct table *table, const struct node_description *node)
{
	char names[LIST_SIZE] = "";
	for (size_t i = 0; i < node->running_count && strlen(names) + 1 < sizeof(names); i++) {
		bool seen = false;
		for (size_t k = 0; k < i; k++)
			seen = seen || strcmp(node->running[k].job, node->running[i].job) == 0;
		if (!seen)
			add_to_list(node->running[i].job, names, sizeof(names));
	}
	table_cell(table, "%s", node->running_count > 0 ? names : "-");
}

static void add_node(struct table *table, const struct poll_node *asked)
{
	const struct node_description *node = asked->answer;
	char uptime[BYTES_SIZE];
	table_cell(table, "%s", asked->host->address);
	if (node == NULL) {
		table_cell(table, "-");
		table_cell(table, "-");
		table_cell(table, asked->has_health ? poll_health_name(asked) : "no answer");
		for (int i = 0; i < 3; i++)
			table_cell(table, "-");
		return;
	}
	format_uptime(node->uptime_seconds, uptime, sizeof(uptime));
	table_cell(table, "%s", node->version);
	table_cell(table, "%u", node->protocol_version);
	table_cell(table, "%s", poll_health_name(asked));
	table_cell(table, "%s", uptime);
	table_cell(table, "%u of %u", node->running_count, node->maximum_sessions);
	add_jobs(table, node);
}

static struct table *make_nodes(const struct poll *poll)
{
	static const struct table_column columns[] = {{"NODE", false},   {"VERSION", false}, {"PROTOCOL", true},
						      {"HEALTH", false}, {"UP", true},       {"SESSIONS", true},
						      {"JOBS", false}};
	struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));
	for (uint32_t i = 0; table != NULL && i < poll_count(poll); i++)
		add_node(table, poll_node(poll, i));
	return table;
}

static void add_device(struct table *table, const char *address, size_t index, const struct node_device *device)
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
		for (size_t k = 0; node->answer != NULL && k < node->answer->device_count; k++)
			add_device(table, node->host->address, k, &node->answer->devices[k]);
	}
	return table;
}

static void add_stage(struct table *table, const char *address, const struct running_stage *stage)
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
		for (size_t k = 0; node->answer != NULL && k < node->answer->running_count; k++)
			add_stage(table, node->host->address, &node->answer->running[k]);
	}
	return table;
}

static bool has_devices(const struct poll *poll)
{
	for (uint32_t i = 0; i < poll_count(poll); i++)
		if (poll_node(poll, i)->answer != NULL && poll_node(poll, i)->answer->device_count > 0)
			return true;
	return false;
}

static bool has_stages(const struct poll *poll)
{
	for (uint32_t i = 0; i < poll_count(poll); i++)
		if (poll_node(poll, i)->answer != NULL && poll_node(poll, i)->answer->running_count > 0)
			return true;
	return false;
}

// Takes the table.
static bool print_table(struct table *table)
{
	bool ok = table != NULL && table_write(table, terminal_columns(STDOUT_FILENO), stdout);
	table_destroy(table);
	return ok;
}

bool nodes_tables_print(const struct poll *poll)
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
