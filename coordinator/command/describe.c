// See describe.h.
#include "coordinator/command/describe.h"

#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"

enum { POLL_MS = 10, DEADLINE_MS = 2000 };

bool describe(const char *address, uint32_t deadline_ms, Penstock__V1__DescribeResponse **ret_response,
	      struct error *error)
{
	struct rpc_client *client = NULL;
	Penstock__V1__DescribeRequest request = PENSTOCK__V1__DESCRIBE_REQUEST__INIT;
	if (!rpc_client_create(address, &(struct rpc_client_options){0}, &client, error))
		return false;
	bool ok =
		rpc_client_call(client, PROTOCOL_METHOD_DESCRIBE, deadline_ms, &request.base,
				&penstock__v1__describe_response__descriptor, (ProtobufCMessage **)ret_response, error);
	rpc_client_destroy(client);
	return ok;
}

static bool has_job(const char *address, const char *job)
{
	Penstock__V1__DescribeResponse *node;
	struct error error; // one that does not answer has nothing to wait for
	bool found = false;
	if (!describe(address, DEADLINE_MS, &node, &error))
		return false;
	for (size_t i = 0; i < node->n_running; i++)
		found = found || strcmp(node->running[i]->job, job) == 0;
	penstock__v1__describe_response__free_unpacked(node, NULL);
	return found;
}

void describe_until_free(const char *const *addresses, uint32_t count, const char *job, uint32_t timeout_ms)
{
	uint64_t begin = clock_now_ns();
	for (uint32_t i = 0; i < count; i++)
		while ((i == 0 || strcmp(addresses[i], addresses[i - 1]) != 0) && has_job(addresses[i], job) &&
		       (clock_now_ns() - begin) / 1000000 < timeout_ms)
			nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
}
