// Open, the first request of a session: what is wrong with it is said here, before anything is begun; then its executor opens the stage.
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "common/base/strings.h"
#include "stage_server/session/internal.h"

static void copy_job_name(struct session *session, const char *name)
{
	size_t length = 0;
	for (; name[length] != '\0' && length + 1 < sizeof(session->job); length++)
		session->job[length] = isgraph((unsigned char)name[length]) ? name[length] : '_';
	if (length > 0)
		session->job[length] = '\0';
}

static bool take_token(struct session *session, enum neighbour side, size_t expected_bytes,
		       const struct byte_span *token, struct error *error)
{
	if (token->size != expected_bytes)
		return error_set(error, ERROR_PROTOCOL, "the %s's link token has %zu bytes, expected %zu",
				 neighbour_name(side), token->size, expected_bytes);
	session->has_token[side] = session->plan.boundary[side].exists;
	if (session->has_token[side])
		memcpy(session->token[side], token->data, expected_bytes);
	return true;
}

static bool read_plan(struct session *session, const struct open_order *open, struct error *error)
{
	if (open->protocol_version != PROTOCOL_VERSION)
		return error_set(error, ERROR_VERSION,
				 "the coordinator has protocol version %u, this daemon (penstockd %s) has %d: install "
				 "the same release on both",
				 open->protocol_version, PENSTOCK_VERSION, PROTOCOL_VERSION);
	copy_job_name(session, open->job);
	if (open->plan_error != NULL) {
		*error = *open->plan_error;
		return false;
	}
	if (open->plan == NULL)
		return error_set(error, ERROR_PROTOCOL, "Open has no plan");
	session->has_plan = stage_plan_read(open->plan, &session->plan, error);
	return session->has_plan;
}

static bool take_tokens(struct session *session, const struct open_order *open, struct error *error)
{
	size_t stage_bytes = stage_plan_is_first(&session->plan) ? 0 : PROTOCOL_TOKEN_BYTES;
	size_t replica_bytes = session->plan.data_parallel_size == 1 ? 0 : PROTOCOL_TOKEN_BYTES;
	return take_token(session, NEIGHBOUR_PREVIOUS, stage_bytes, &open->link_token, error) &&
	       take_token(session, NEIGHBOUR_PREVIOUS_REPLICA, replica_bytes, &open->replica_token, error);
}

// How tensors are to cross.
static bool check_transport(const struct session *session, const struct open_order *open, struct error *error)
{
	uint64_t limit = session->host->options.maximum_message_bytes;
	uint64_t message_bytes = (uint64_t)open->chunk_bytes + RPC_MAXIMUM_HEADER_BYTES;
	if (open->connections < 1 || open->connections > PROTOCOL_MAXIMUM_CONNECTIONS)
		return error_set(error, ERROR_USAGE, "connections is %u, must be from 1 to %d", open->connections,
				 PROTOCOL_MAXIMUM_CONNECTIONS);
	if (open->chunk_bytes < PROTOCOL_MINIMUM_CHUNK_BYTES || open->chunk_bytes > PROTOCOL_MAXIMUM_CHUNK_BYTES)
		return error_set(error, ERROR_USAGE, "chunk_bytes is %u, must be from %d to %d", open->chunk_bytes,
				 PROTOCOL_MINIMUM_CHUNK_BYTES, PROTOCOL_MAXIMUM_CHUNK_BYTES);
	return message_bytes <= limit ||
	       error_set(error, ERROR_LIMIT,
			 "chunk_bytes is %u, which with its header is a message of up to %" PRIu64
			 " bytes; this daemon takes %" PRIu64 " (--max-message-size)",
			 open->chunk_bytes, message_bytes, limit);
}

static bool find_slot(struct session *session, uint32_t index, struct error *error)
{
	const struct devices *devices = session->host->options.devices;
	if (index >= devices_count(devices))
		return error_set(
			error, ERROR_USAGE,
			"the plan uses device slot %u, but this daemon has %u, numbered from 0: lower the host's "
			"slots= in the hostfile, or start penstockd with more --device options",
			index, devices_count(devices));
	session->slot = devices_slot(devices, index);
	session->device_index = index;
	return !session->plan.reduce_in_group || session->slot->group[0] != '\0' ||
	       error_set(error, ERROR_USAGE,
			 "reduce_in_group: device %s of this daemon cannot sum gradients with others: train with "
			 "--reduce ring",
			 session->slot->name);
}

bool session_open(struct session *session, const struct open_order *open, struct error *error)
{
	if (!read_plan(session, open, error) || !take_tokens(session, open, error) ||
	    !check_transport(session, open, error) || !find_slot(session, open->plan->device_index, error))
		return false;
	struct executor_options options = {
		.plan = &session->plan,
		.ops = session->slot->ops,
		.device = session->slot->device,
		.memory = &session->slot->memory,
		.exchange_memory = &session->slot->exchange_memory,
		.tuning = session->slot->tuning,
		.connections = open->connections,
		.chunk_bytes = open->chunk_bytes,
		.metrics = session->host->options.metrics,
		.events = &session_executor_events,
		.link_events = &session_link_events,
		.user = session,
	};
	struct log_fields fields = session_fields(session);
	log_event(LOG_LEVEL_INFO, &fields,
		  "opened on %s: %s layers %u to %u, %u stage%s, %u replica%s, %u micro-batch%s of %u",
		  session->slot->name, session->plan.model.name, session->plan.first_layer, session->plan.end_layer - 1,
		  session->plan.pipeline_size, strings_plural(session->plan.pipeline_size),
		  session->plan.data_parallel_size, strings_plural(session->plan.data_parallel_size),
		  session->plan.micro_batches, session->plan.micro_batches == 1 ? "" : "es",
		  session->plan.micro_batch_size);
	session->state = SESSION_OPENING;
	return executor_create(&options, &session->executor, error);
}
