// Connect, the links to the neighbours and the group of the stage's replicas: from Opened to Ready, and when a link is lost.
#include <string.h>

#include "common/base/address.h"
#include "stage_server/session/internal.h"

_Static_assert((int)PROTOCOL_GROUP_ID_BYTES == (int)DEVICE_GROUP_ID_BYTES,
	       "an id of a group crosses the wire as it is");

void session_become_ready(struct session *session)
{
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (session_link(session, side) != NULL && !session->link_ready[side])
			return;
	if (session->state != SESSION_LINKING || (session->plan.reduce_in_group && !session->joined))
		return;
	session->state = SESSION_READY;
	reply_ready(session);
}

// The neighbour is another session of this daemon.
static bool join(struct session *session, enum neighbour side, const uint8_t *token, struct error *error)
{
	enum neighbour their_side = NEIGHBOUR_PREVIOUS;
	struct session *other = host_find_token(session->host, token, &their_side);
	if (other == NULL)
		return error_set(error, ERROR_PROTOCOL,
				 "the plan says that the %s runs on this daemon, which has no stage with that token",
				 neighbour_name(side));
	if (other->slot->ops != session->slot->ops && side == NEIGHBOUR_NEXT)
		return error_set(error, ERROR_USAGE,
				 "stages %u and %u are on two kinds of devices, %s and %s, of one daemon, which cannot "
				 "exchange tensors: start a daemon for each kind",
				 session->plan.pipeline_stage, other->plan.pipeline_stage, session->slot->name,
				 other->slot->name);
	return link_join(session_link(session, side), session_link(other, their_side), error) ||
	       error_wrap(error, "link to the %s, of this daemon", neighbour_name(side));
}

// Of what gRPC would follow, a coordinator may name a host and a port alone: no other resolver, and no socket of a machine whose daemons
// do not use them.
static bool check_address(const struct session *session, enum neighbour side, const char *address, struct error *error)
{
	if (strlen(address) >= sizeof(session->address[side]))
		return error_set(error, ERROR_USAGE, "the %s's address is too long", neighbour_name(side));
	if (!address_parse(address, ADDRESS_WHOLE, NULL, error))
		return error_wrap(error, "the %s's address", neighbour_name(side));
	return !address_is_socket(address) || session->host->options.dials_sockets ||
	       error_set(error, ERROR_USAGE,
			 "the %s's address is a Unix socket, %.200s, but this daemon listens only on TCP",
			 neighbour_name(side), address);
}

// Begins the link to a neighbour behind this stage, where there is one.
static bool reach(struct session *session, enum neighbour side, const char *address, const struct byte_span *token,
		  struct error *error)
{
	struct link *link = session_link(session, side);
	if (link == NULL)
		return true;
	if (token->size != PROTOCOL_TOKEN_BYTES)
		return error_set(error, ERROR_PROTOCOL, "the %s's link token has %zu bytes, expected %d",
				 neighbour_name(side), token->size, PROTOCOL_TOKEN_BYTES);
	if (session->plan.boundary[side].local)
		return join(session, side, token->data, error);
	if (!check_address(session, side, address, error))
		return false;
	if (!link_dial(link, address, session->host->options.tls, token->data, error))
		return error_wrap(error, "link to the %s at %s", neighbour_name(side), address);
	strcpy(session->address[side], address);
	return true;
}

// Begins to join the group of the stage's replicas, where there is one.
static bool join_group(struct session *session, const struct byte_span *id, struct error *error)
{
	if (!session->plan.reduce_in_group)
		return true;
	if (id->size != DEVICE_GROUP_ID_BYTES)
		return error_set(error, ERROR_PROTOCOL, "group_id has %zu bytes, expected %d", id->size,
				 DEVICE_GROUP_ID_BYTES);
	return executor_join(session->executor, id->data, error);
}

bool session_connect(struct session *session, const struct connect_order *connect, struct error *error)
{
	if (!reach(session, NEIGHBOUR_NEXT, connect->next_address, &connect->next_link_token, error) ||
	    !reach(session, NEIGHBOUR_NEXT_REPLICA, connect->next_replica_address, &connect->next_replica_token,
		   error) ||
	    !join_group(session, &connect->group_id, error))
		return false;
	session->state = SESSION_LINKING;
	session_become_ready(session);
	return true;
}

void session_handle_link_ready(struct session *session, enum neighbour side)
{
	struct log_fields fields = session_fields(session);
	log_event(LOG_LEVEL_DEBUG, &fields, "the link to the %s is up", neighbour_name(side));
	session->link_ready[side] = true;
	session_become_ready(session);
}

void session_handle_link_lost(struct session *session, struct session_event *event)
{
	enum neighbour side = event->neighbour;
	// One that left in good order matters only when its tensors are waited for; the executor says so then.
	if (!event->flag || session->state == SESSION_CLOSING)
		return;
	if (session->address[side][0] != '\0')
		error_wrap(&event->error, "link to the %s at %s", neighbour_name(side), session->address[side]);
	else
		error_wrap(&event->error, "link to the %s", neighbour_name(side));
	session_end(session, &event->error, event->error.code == ERROR_UNREACHABLE, event->neighbour);
}
