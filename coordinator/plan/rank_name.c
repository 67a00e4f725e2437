// See rank_name.h.
#include "coordinator/plan/rank_name.h"

#include <stdio.h>

const char *rank_name(const struct plan *plan, uint32_t rank, const char *address, char *into, size_t size)
{
	uint32_t stage = plan_rank_stage(plan, rank);
	if (plan->options.data_parallel_size == 1)
		snprintf(into, size, "stage %u on %s", stage, address);
	else
		snprintf(into, size, "stage %u of replica %u on %s", stage, plan_rank_replica(plan, rank), address);
	return into;
}
