// The grid of ranks: each replica is a row of stages, and the replicas of each stage form a ring. Opens the rank's Session, and links the
// rank to its neighbours.
#include <string.h>
#include <sys/random.h>

#include "coordinator/run/internal.h"

static bool is_last_stage(const struct job *job, uint32_t rank)
{
	return plan_rank_stage(job->plan, rank) + 1 == job->plan->options.pipeline_size;
}

// The rank `by` places further in the ring of the rank's stage.
static uint32_t ring_neighbour(const struct job *job, uint32_t rank, uint32_t by)
{
	uint32_t d = job->plan->options.data_parallel_size, replica = plan_rank_replica(job->plan, rank);
	return plan_rank(job->plan, plan_rank_stage(job->plan, rank), (replica + by) % d);
}

static bool same_daemon(const struct job *job, uint32_t a, uint32_t b)
{
	return strcmp(job->options.addresses[a], job->options.addresses[b]) == 0;
}

static struct plan_place place_of(const struct job *job, uint32_t rank)
{
	uint32_t d = job->plan->options.data_parallel_size;
	return (struct plan_place){
		.device = job->options.devices[rank],
		.previous_is_local = rank >= d && same_daemon(job, rank - d, rank),
		.next_is_local = !is_last_stage(job, rank) && same_daemon(job, rank, rank + d),
		.previous_replica_is_local = d > 1 && same_daemon(job, ring_neighbour(job, rank, d - 1), rank),
		.reduce_in_group = job->options.reduce_in_group,
		.next_replica_is_local = d > 1 && same_daemon(job, rank, ring_neighbour(job, rank, 1)),
	};
}

bool job_open_rank(struct job *job, uint32_t rank, struct error *error)
{
	uint32_t stage = plan_rank_stage(job->plan, rank), replica = plan_rank_replica(job->plan, rank);
	struct stage_session_options options = {
		.rank = rank, .address = job->options.addresses[rank], .tls = job->options.tls, .events = job->events};
	struct plan_place place = place_of(job, rank);
	struct job_tokens *tokens = &job->tokens[rank];
	if (getrandom(tokens, sizeof(*tokens), 0) != (ssize_t)sizeof(*tokens))
		return error_set(error, ERROR_FAILED, "no random bytes for a link's token: %m");
	if (!stage_session_create(&options, &job->sessions[rank], error))
		return false;
	struct stage_spec spec;
	plan_stage_spec(job->plan, replica, stage, &place, &spec);
	struct open_order open = {.protocol_version = PROTOCOL_VERSION,
				  .job = job->options.name,
				  .plan = &spec,
				  .connections = job->options.connections,
				  .chunk_bytes = job->options.chunk_bytes};
	if (stage > 0)
		open.link_token = (struct byte_span){tokens->link, PROTOCOL_TOKEN_BYTES};
	if (job->plan->options.data_parallel_size > 1)
		open.replica_token = (struct byte_span){tokens->replica, PROTOCOL_TOKEN_BYTES};
	stage_session_open(job->sessions[rank], &open);
	return true;
}

// The id with which the rank joins the group of its stage; NULL: no group.
static bool find_group(const struct job *job, uint32_t rank, const uint8_t **ret_id, struct error *error)
{
	uint32_t stage = plan_rank_stage(job->plan, rank);
	const struct job_group *group = &job->groups[stage];
	bool joins = job->options.reduce_in_group && job->plan->stages[stage].parameters > 0;
	*ret_id = joins ? group->id : NULL;
	return !joins || group->is_known ||
	       job_refuse(job, plan_rank(job->plan, stage, 0), "its Opened has no group_id of 128 bytes", error);
}

bool job_connect_rank(struct job *job, uint32_t rank, struct error *error)
{
	uint32_t d = job->plan->options.data_parallel_size, next = ring_neighbour(job, rank, 1);
	struct stage_session_next stage = {0}, replica = {0};
	const uint8_t *group_id;
	if (!is_last_stage(job, rank))
		stage = (struct stage_session_next){job->options.addresses[rank + d], job->tokens[rank + d].link};
	if (d > 1)
		replica = (struct stage_session_next){job->options.addresses[next], job->tokens[next].replica};
	if (!find_group(job, rank, &group_id, error))
		return false;
	stage_session_connect(job->sessions[rank], &stage, &replica, group_id);
	return true;
}
