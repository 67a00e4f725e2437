// See culprit.h.
#include "coordinator/run/culprit.h"

#include <inttypes.h>

void culprit_accuse(struct culprit *culprit, const struct stage_event *event)
{
	const Penstock__V1__SessionResponse *response = event->response;
	if (response == NULL) {
		// A daemon that was lost without a word explains its neighbours' broken links; the end of a call whose
		// stage said why explains nothing more.
		if (BLAME_STREAM > culprit->blame && !culprit->has_spoken[event->stage]) {
			culprit->blame = BLAME_STREAM;
			culprit->stage = event->stage;
			culprit->error = event->error;
		}
		return;
	}
	if (response->body_case != PENSTOCK__V1__SESSION_RESPONSE__BODY_FAILED)
		return;
	const Penstock__V1__Failed *failed = response->failed;
	culprit->has_spoken[event->stage] = true;
	enum blame blame = failed->lost_peer ? BLAME_LOST_PEER : BLAME_FAILED;
	if (blame <= culprit->blame)
		return;
	culprit->blame = blame;
	culprit->stage = event->stage;
	culprit->step = failed->step;
	culprit->peer_stage = failed->peer_stage;
	bool known = failed->code > ERROR_NONE && failed->code <= ERROR_CANCELLED;
	error_set(&culprit->error, known ? (enum error_code)failed->code : ERROR_FAILED, "%s", failed->message);
}

void culprit_explain(const struct culprit *culprit, const char *const *addresses, uint32_t stages, enum job_phase phase,
		     uint64_t step, struct error *ret_error)
{
	uint32_t stage = culprit->stage;
	*ret_error = culprit->error;
	if (culprit->blame == BLAME_LOST_PEER && culprit->peer_stage < stages)
		error_wrap(ret_error, "stage %u on %s", culprit->peer_stage, addresses[culprit->peer_stage]);
	bool lost = culprit->blame == BLAME_STREAM && culprit->error.code == ERROR_UNREACHABLE;
	if (lost && phase == JOB_RUNNING)
		error_wrap(ret_error, "stage %u on %s was lost at step %" PRIu64, stage, addresses[stage], step);
	else if (lost)
		error_wrap(ret_error,
			   phase == JOB_OPENING  ? "stage %u on %s cannot be reached"
			   : phase == JOB_SAVING ? "stage %u on %s was lost while its parameters were saved"
						 : "stage %u on %s was lost before the first step",
			   stage, addresses[stage]);
	else if (phase == JOB_RUNNING)
		error_wrap(ret_error, "stage %u on %s, step %" PRIu64, stage, addresses[stage],
			   culprit->blame == BLAME_STREAM ? step : culprit->step);
	else
		error_wrap(ret_error, "stage %u on %s", stage, addresses[stage]);
}
