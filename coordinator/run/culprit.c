// See culprit.h.
#include "coordinator/run/culprit.h"

#include <inttypes.h>

#include "coordinator/plan/rank_name.h"

// The rank that a failed one lost; the number of ranks when it names one that there is not.
static uint32_t peer_of(const struct plan *plan, const struct failure *failed)
{
	if (failed->peer_stage >= plan->options.pipeline_size ||
	    failed->peer_replica >= plan->options.data_parallel_size)
		return plan_rank_count(plan);
	return plan_rank(plan, failed->peer_stage, failed->peer_replica);
}

static bool has_spoken(const struct culprit *culprit, uint32_t rank)
{
	return rank < plan_rank_count(culprit->plan) && culprit->has_spoken[rank];
}

// A loss runs around a ring and along a pipeline: each that gives up is a lost peer to those beside it. A peer that says itself
// whom it lost is a link of that chain, not its beginning.
static bool explains_more(const struct culprit *culprit, enum blame blame, uint32_t peer)
{
	if (blame != culprit->blame)
		return blame > culprit->blame;
	return blame == BLAME_LOST_PEER && has_spoken(culprit, culprit->peer) && !has_spoken(culprit, peer);
}

void culprit_accuse(struct culprit *culprit, const struct stage_event *event)
{
	const struct wire_response *response = event->response;
	if (response == NULL) {
		culprit->ended++;
		if (event->error.code == ERROR_UNREACHABLE && !event->was_heard && !culprit->has_spoken[event->rank])
			unreachable_add(&culprit->unreachable, culprit->addresses[event->rank], event->error.message);
		// A daemon that was lost without a word explains its neighbours' broken links; the end of a call whose
		// rank said why explains nothing more.
		if (BLAME_STREAM > culprit->blame && !culprit->has_spoken[event->rank]) {
			culprit->blame = BLAME_STREAM;
			culprit->rank = event->rank;
			culprit->was_heard = event->was_heard;
			culprit->error = event->error;
		}
		return;
	}
	if (response->kind != RESPONSE_FAILED)
		return;
	const struct failure *failed = &response->failed;
	culprit->has_spoken[event->rank] = true;
	enum blame blame = failed->lost_peer ? BLAME_LOST_PEER : BLAME_FAILED;
	uint32_t peer = peer_of(culprit->plan, failed);
	if (!explains_more(culprit, blame, peer))
		return;
	culprit->blame = blame;
	culprit->rank = event->rank;
	culprit->step = failed->step;
	culprit->peer = peer;
	bool known = failed->code > ERROR_NONE && failed->code <= ERROR_CANCELLED;
	error_set(&culprit->error, known ? (enum error_code)failed->code : ERROR_FAILED, "%s", failed->message);
}

void culprit_explain(const struct culprit *culprit, enum job_phase phase, uint64_t step, struct error *ret_error)
{
	char who[RANK_NAME_SIZE], peer[RANK_NAME_SIZE];
	*ret_error = culprit->error;
	rank_name(culprit->plan, culprit->rank, culprit->addresses[culprit->rank], who, sizeof(who));
	if (culprit->blame == BLAME_LOST_PEER && culprit->peer < plan_rank_count(culprit->plan))
		error_wrap(
			ret_error, "%s",
			rank_name(culprit->plan, culprit->peer, culprit->addresses[culprit->peer], peer, sizeof(peer)));
	bool lost = culprit->blame == BLAME_STREAM && culprit->error.code == ERROR_UNREACHABLE;
	bool out_of_reach = lost && phase == JOB_OPENING && !culprit->was_heard;
	if (out_of_reach && culprit->unreachable.count > 1)
		unreachable_explain(&culprit->unreachable, ret_error);
	else if (lost && phase == JOB_RUNNING)
		error_wrap(ret_error, "%s was lost at step %" PRIu64, who, step);
	else if (lost)
		error_wrap(ret_error,
			   out_of_reach          ? "%s cannot be reached"
			   : phase == JOB_SAVING ? "%s was lost while its parameters were saved"
						 : "%s was lost before the first step",
			   who);
	else if (phase == JOB_RUNNING)
		error_wrap(ret_error, "%s, step %" PRIu64, who, culprit->blame == BLAME_STREAM ? step : culprit->step);
	else
		error_wrap(ret_error, "%s", who);
}
