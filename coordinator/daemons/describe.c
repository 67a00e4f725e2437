// See describe.h.
#include "coordinator/daemons/describe.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"

enum { POLL_MS = 10, DEADLINE_MS = 2000, NAMED = 2 };

bool describe_client(const char *address, struct rpc_tls *tls, struct rpc_client **ret_client, struct error *error)
{
	return rpc_client_create(address, &(struct rpc_client_options){.tls = tls}, ret_client, error);
}

bool describe(const char *address, struct rpc_tls *tls, uint32_t deadline_ms, struct wire_node **ret_node,
	      struct error *error)
{
	struct rpc_client *client = NULL;
	struct rpc_call *call = NULL;
	if (!describe_client(address, tls, &client, error))
		return false;
	bool ok = wire_describe_begin(client, deadline_ms, &call, error) && wire_describe_end(call, ret_node, error);
	rpc_client_destroy(client);
	return ok;
}

// Of one daemon. Returns the number that `found` grows to.
static uint32_t add_others(const char *address, struct rpc_tls *tls, const char *job, uint32_t found, char *into,
			   size_t size)
{
	struct wire_node *node;
	struct error error;
	if (!describe(address, tls, DEADLINE_MS, &node, &error))
		return found;
	for (uint32_t i = 0; i < node->node.running_count; i++) {
		const struct running_stage *stage = &node->node.running[i];
		size_t used = strlen(into);
		char bytes[32];
		if (strcmp(stage->job, job) != 0 && found++ < NAMED)
			snprintf(into + used, size - used, "%s%.64s holds %s on %s", used > 0 ? ", " : "", stage->job,
				 strings_format_bytes(stage->memory_bytes, bytes, sizeof(bytes)), address);
	}
	wire_node_free(node);
	return found;
}

static bool is_new(const char *const *addresses, uint32_t i)
{
	for (uint32_t k = 0; k < i; k++)
		if (strcmp(addresses[k], addresses[i]) == 0)
			return false;
	return true;
}

bool describe_others(const char *const *addresses, uint32_t count, struct rpc_tls *tls, const char *job, char *into,
		     size_t size)
{
	uint32_t found = 0;
	into[0] = '\0';
	for (uint32_t i = 0; i < count; i++)
		if (is_new(addresses, i))
			found = add_others(addresses[i], tls, job, found, into, size);
	return found > 0;
}

static bool has_job(const char *address, struct rpc_tls *tls, const char *job)
{
	struct wire_node *node;
	struct error error; // one that does not answer has nothing to wait for
	bool found = false;
	if (!describe(address, tls, DEADLINE_MS, &node, &error))
		return false;
	for (uint32_t i = 0; i < node->node.running_count; i++)
		found = found || strcmp(node->node.running[i].job, job) == 0;
	wire_node_free(node);
	return found;
}

void describe_until_free(const char *const *addresses, uint32_t count, struct rpc_tls *tls, const char *job,
			 uint32_t timeout_ms)
{
	uint64_t begin = clock_now_ns();
	for (uint32_t i = 0; i < count; i++)
		while ((i == 0 || strcmp(addresses[i], addresses[i - 1]) != 0) && has_job(addresses[i], tls, job) &&
		       (clock_now_ns() - begin) / 1000000 < timeout_ms)
			nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
}
