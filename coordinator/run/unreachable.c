// See unreachable.h.
#include "coordinator/run/unreachable.h"

#include <stdio.h>
#include <string.h>

static uint32_t named(const struct unreachable *nodes)
{
	return nodes->count < UNREACHABLE_NAMED ? nodes->count : UNREACHABLE_NAMED;
}

void unreachable_add(struct unreachable *nodes, const char *address, const char *why)
{
	for (uint32_t i = 0; i < named(nodes); i++)
		if (strcmp(nodes->nodes[i].address, address) == 0)
			return;
	if (nodes->count < UNREACHABLE_NAMED) {
		nodes->nodes[nodes->count].address = address;
		snprintf(nodes->nodes[nodes->count].why, UNREACHABLE_WHY_SIZE, "%s", why);
	}
	nodes->count++;
}

static size_t cause_length(const char *why)
{
	const char *colon = strstr(why, ": ");
	return colon != NULL ? (size_t)(colon - why) : strlen(why);
}

static const char *remedy_of(const char *why)
{
	const char *rest = why + cause_length(why);
	return rest[0] != '\0' ? rest + strlen(": ") : rest;
}

static bool is_said(const struct unreachable *nodes, uint32_t index)
{
	const char *remedy = remedy_of(nodes->nodes[index].why);
	bool said = remedy[0] == '\0';
	for (uint32_t i = 0; i < index && !said; i++)
		said = strcmp(remedy_of(nodes->nodes[i].why), remedy) == 0;
	return said;
}

void unreachable_explain(const struct unreachable *nodes, struct error *ret_error)
{
	char text[ERROR_MESSAGE_SIZE];
	size_t used = 0;
	bool first = true;
	for (uint32_t i = 0; i < named(nodes) && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s (%.*s)", i > 0 ? ", " : "",
					 nodes->nodes[i].address, (int)cause_length(nodes->nodes[i].why),
					 nodes->nodes[i].why);
	if (nodes->count > UNREACHABLE_NAMED && used < sizeof(text))
		used += (size_t)snprintf(text + used, sizeof(text) - used, " and %u more",
					 nodes->count - UNREACHABLE_NAMED);
	for (uint32_t i = 0; i < named(nodes) && used < sizeof(text); i++) {
		if (is_said(nodes, i))
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", first ? ": " : "; ",
					 remedy_of(nodes->nodes[i].why));
		first = false;
	}
	error_set(ret_error, ERROR_UNREACHABLE, "%u nodes cannot be reached: %s", nodes->count, text);
}
