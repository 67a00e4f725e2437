// Refuses answers of ranks that break the protocol.
#include <stdio.h>

#include "coordinator/plan/rank_name.h"
#include "coordinator/run/internal.h"

bool job_refuse(const struct job *job, uint32_t rank, const char *why, struct error *error)
{
	char who[RANK_NAME_SIZE];
	return error_set(error, ERROR_PROTOCOL, "%s: %s",
			 rank_name(job->plan, rank, job->options.addresses[rank], who, sizeof(who)), why);
}

bool job_unexpected(const struct job *job, const struct stage_event *event, struct error *error)
{
	char why[64];
	snprintf(why, sizeof(why), "unexpected answer %d", (int)event->response->kind);
	return job_refuse(job, event->rank, why, error);
}

bool job_take_answer(const struct job *job, uint32_t rank, bool *has_answered, struct error *error)
{
	if (has_answered[rank])
		return job_refuse(job, rank, "it sent the same answer twice", error);
	has_answered[rank] = true;
	return true;
}
