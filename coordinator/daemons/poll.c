// See poll.h.
#include "coordinator/daemons/poll.h"

#include <stdlib.h>

#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"
#include "coordinator/daemons/describe.h"

struct asked {
	struct poll_node node;
	struct rpc_client *client;
	struct rpc_call *describe, *check; // NULL: none runs
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
	if (asked->node.answer != NULL)
		penstock__v1__describe_response__free_unpacked(asked->node.answer, NULL);
	asked->node.answer = NULL;
}

void poll_begin(struct poll *poll, uint32_t deadline_ms)
{
	Penstock__V1__DescribeRequest describe = PENSTOCK__V1__DESCRIBE_REQUEST__INIT;
	Grpc__Health__V1__HealthCheckRequest check = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	for (uint32_t i = 0; i < poll->count; i++) {
		struct asked *asked = &poll->asked[i];
		asked->node.error.code = ERROR_NONE;
		rpc_client_begin(asked->client, PROTOCOL_METHOD_DESCRIBE, deadline_ms, &describe.base,
				 &penstock__v1__describe_response__descriptor, &asked->describe, &asked->node.error);
		rpc_client_begin(asked->client, PROTOCOL_METHOD_HEALTH_CHECK, deadline_ms, &check.base,
				 &grpc__health__v1__health_check_response__descriptor, &asked->check, NULL);
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
	Penstock__V1__DescribeResponse *answer = NULL;
	Grpc__Health__V1__HealthCheckResponse *health = NULL;
	free_answer(asked);
	if (asked->describe != NULL)
		rpc_call_end(asked->describe, (ProtobufCMessage **)&answer, &asked->node.error);
	asked->node.has_health = asked->check != NULL && rpc_call_end(asked->check, (ProtobufCMessage **)&health, NULL);
	if (asked->node.has_health)
		asked->node.health = health->status;
	if (health != NULL)
		grpc__health__v1__health_check_response__free_unpacked(health, NULL);
	asked->node.answer = answer;
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
	case GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING:
		return "serving";
	case GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING:
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
