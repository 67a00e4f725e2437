// See poll.h.
#include "coordinator/daemons/poll.h"

#include <stdlib.h>

#include "common/base/strings.h"
#include "common/rpc/rpc.h"
#include "coordinator/daemons/describe.h"

struct asked {
	struct poll_node node;
	struct rpc_client *client;
	struct rpc_call *describe, *check; // NULL: none runs
	struct wire_node *answer;          // holds node.answer
};

struct poll {
	uint32_t count;
	struct asked asked[];
};

bool poll_create(const struct hostfile *hosts, struct rpc_tls *tls, struct poll **ret_poll, struct error *error)
{
	struct poll *poll = calloc(1, sizeof(*poll) + hosts->count * sizeof(struct asked));
	if (poll == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (; poll->count < hosts->count; poll->count++) {
		struct asked *asked = &poll->asked[poll->count];
		asked->node.host = &hosts->hosts[poll->count];
		if (describe_client(asked->node.host->address, tls, &asked->client, error))
			continue;
		poll_destroy(poll);
		return false;
	}
	*ret_poll = poll;
	return true;
}

static void free_answer(struct asked *asked)
{
	wire_node_free(steal_pointer(asked->answer));
	asked->node.answer = NULL;
}

void poll_begin(struct poll *poll, uint32_t deadline_ms)
{
	for (uint32_t i = 0; i < poll->count; i++) {
		struct asked *asked = &poll->asked[i];
		asked->node.error.code = ERROR_NONE;
		wire_describe_begin(asked->client, deadline_ms, &asked->describe, &asked->node.error);
		wire_health_begin(asked->client, deadline_ms, &asked->check, NULL);
	}
}

bool poll_is_over(const struct poll *poll)
{
	for (uint32_t i = 0; i < poll->count; i++)
		if ((poll->asked[i].describe != NULL && !rpc_call_is_over(poll->asked[i].describe)) ||
		    (poll->asked[i].check != NULL && !rpc_call_is_over(poll->asked[i].check)))
			return false;
	return true;
}

static void end_one(struct asked *asked)
{
	free_answer(asked);
	if (asked->describe != NULL && wire_describe_end(asked->describe, &asked->answer, &asked->node.error))
		asked->node.answer = &asked->answer->node;
	asked->node.has_health = asked->check != NULL && wire_health_end(asked->check, &asked->node.health, NULL);
	asked->describe = asked->check = NULL;
}

void poll_end(struct poll *poll)
{
	for (uint32_t i = 0; i < poll->count; i++)
		end_one(&poll->asked[i]);
}

void poll_destroy(struct poll *poll)
{
	if (poll == NULL)
		return;
	for (uint32_t i = 0; i < poll->count; i++) {
		struct asked *asked = &poll->asked[i];
		if (asked->describe != NULL)
			rpc_call_cancel(asked->describe);
		if (asked->check != NULL)
			rpc_call_cancel(asked->check);
	}
	for (uint32_t i = 0; i < poll->count; i++) {
		struct asked *asked = &poll->asked[i];
		if (asked->describe != NULL || asked->check != NULL)
			end_one(asked);
		free_answer(asked);
		rpc_client_destroy(asked->client);
	}
	free(poll);
}

uint32_t poll_count(const struct poll *poll)
{
	return poll->count;
}

const struct poll_node *poll_node(const struct poll *poll, uint32_t index)
{
	return &poll->asked[index].node;
}

const char *poll_health_name(const struct poll_node *node)
{
	if (!node->has_health)
		return "-";
	switch (node->health) {
	case HEALTH_SERVING:
		return "serving";
	case HEALTH_NOT_SERVING:
		return "not serving";
	default:
		return "unknown";
	}
}

const char *poll_complaint(const struct poll_node *node, struct error *ret_error)
{
	*ret_error = node->error;
	error_wrap(ret_error, node->error.code == ERROR_UNREACHABLE ? "%s cannot be reached" : "%s",
		   node->host->address);
	return ret_error->message;
}
