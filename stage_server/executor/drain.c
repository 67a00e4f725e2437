// The end that an administrator asks for: what was begun is done, and nothing else is begun. See executor.h.
#include "stage_server/executor/internal.h"

uint64_t executor_hold(struct executor *executor)
{
	pthread_mutex_lock(&executor->lock);
	if (executor->steps_limit > executor->begun_steps)
		executor->steps_limit = executor->begun_steps;
	uint64_t begun = executor->begun_steps;
	pthread_mutex_unlock(&executor->lock);
	return begun;
}

void executor_drain(struct executor *executor, uint64_t steps)
{
	pthread_mutex_lock(&executor->lock);
	executor->steps_limit = steps;
	executor->draining = true;
	pthread_cond_broadcast(&executor->changed);
	pthread_mutex_unlock(&executor->lock);
}

bool executor_is_drained(const struct executor *executor)
{
	const struct order *first = executor->first;
	if (!executor->draining)
		return false;
	if (first == NULL) // after a save its job is at its end, too: Close is on its way
		return executor->begun_steps >= executor->steps_limit && !executor->saving;
	switch (first->kind) {
	case ORDER_STEP:
		return first->step.step >= executor->steps_limit;
	case ORDER_LOAD:
	case ORDER_JOIN:
		return true;
	case ORDER_SAVE:
	case ORDER_CLOSE:
		return false;
	}
	return false;
}

void executor_flush(struct executor *executor)
{
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (executor->links[side] != NULL)
			link_flush(executor->links[side]);
}
