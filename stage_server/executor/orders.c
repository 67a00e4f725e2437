// The executor's queue of orders. Any thread puts them in, each checked against what was ordered before; the executor's takes them out.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/model/optimizer_check.h"
#include "common/rpc/protocol.h"
#include "stage_server/executor/internal.h"

void executor_free_order(struct order *order)
{
	free(order->values);
	free(order);
}

// ---- The executor's thread

// A step that must not be begun yet waits in the queue, and with it all that was ordered later.
static bool has_order(const struct executor *executor)
{
	const struct order *first = executor->first;
	return first != NULL && (first->kind != ORDER_STEP || first->step.step < executor->steps_limit);
}

// With the lock held.
static struct order *take_first(struct executor *executor)
{
	struct order *order = executor->first;
	executor->first = order->next;
	if (executor->first == NULL)
		executor->last = &executor->first;
	executor->saving = order->kind == ORDER_SAVE || (executor->saving && order->kind != ORDER_STEP);
	if (order->kind == ORDER_STEP) {
		executor->queued_steps--;
		executor->begun_steps = order->step.step + 1;
	}
	return order;
}

struct order *executor_next_order(struct executor *executor, bool *ret_drained)
{
	uint64_t begin = clock_now_ns();
	pthread_mutex_lock(&executor->lock);
	while (!has_order(executor) && !executor_is_drained(executor) && !atomic_load(&executor->stopped))
		pthread_cond_wait(&executor->changed, &executor->lock);
	bool stopped = atomic_load(&executor->stopped);
	*ret_drained = !stopped && executor_is_drained(executor);
	struct order *order = stopped || *ret_drained ? NULL : take_first(executor);
	pthread_mutex_unlock(&executor->lock);
	executor->report.phase_ns[PHASE_WAIT_COORDINATOR] = clock_now_ns() - begin;
	return order;
}

// ---- Any thread

// Takes `values`.
static bool push_order(struct executor *executor, const struct order *order, struct error *error)
{
	struct order *copy = malloc(sizeof(*copy));
	if (copy == NULL) {
		free(order->values);
		return error_set(error, ERROR_FAILED, "no memory for an order");
	}
	*copy = *order;
	copy->next = NULL;
	pthread_mutex_lock(&executor->lock);
	bool ok = !executor->closing;
	if (ok) {
		*executor->last = copy;
		executor->last = &copy->next;
		executor->closing = order->kind == ORDER_CLOSE;
		executor->queued_steps += order->kind == ORDER_STEP;
		executor->next_step += order->kind == ORDER_STEP;
		executor->load_is_waiting |= order->kind == ORDER_LOAD;
		executor->save_is_waiting |= order->kind == ORDER_SAVE;
		pthread_cond_signal(&executor->changed);
	}
	pthread_mutex_unlock(&executor->lock);
	if (!ok)
		executor_free_order(copy);
	return ok || error_set(error, ERROR_PROTOCOL, "an order came after Close");
}

bool executor_load(struct executor *executor, const struct parameter_chunk *chunk, const struct rpc_incoming *incoming,
		   struct error *error)
{
	struct order order = {.kind = ORDER_LOAD};
	pthread_mutex_lock(&executor->lock);
	bool began = executor->next_step > 0, early = executor->load_is_waiting;
	pthread_mutex_unlock(&executor->lock);
	if (began)
		return error_set(error, ERROR_PROTOCOL, "load %.80s: the first step was ordered already", chunk->name);
	if (early)
		return error_set(error, ERROR_PROTOCOL,
				 "load %.80s: it came before the last parameter was confirmed by Loaded", chunk->name);
	if (!loader_put(executor->loader, chunk, incoming, &order.parameter, &order.values, error))
		return false;
	return order.values == NULL || push_order(executor, &order, error);
}

bool executor_join(struct executor *executor, const uint8_t *group_id, struct error *error)
{
	struct order order = {.kind = ORDER_JOIN};
	memcpy(order.group_id, group_id, sizeof(order.group_id));
	return push_order(executor, &order, error);
}

bool executor_put_batch(struct executor *executor, const struct batch *batch, const struct rpc_incoming *incoming,
			struct error *error)
{
	return batches_put(executor->batches, batch->kind, batch->step, batch->micro_batch, incoming, error);
}

bool executor_run_step(struct executor *executor, const struct step_order *order, struct error *error)
{
	pthread_mutex_lock(&executor->lock);
	uint64_t expected = executor->next_step;
	bool full = executor->queued_steps >= PROTOCOL_MAXIMUM_QUEUED_STEPS;
	pthread_mutex_unlock(&executor->lock);
	if (order->step != expected)
		return error_set(error, ERROR_PROTOCOL, "step %" PRIu64 " was ordered, expected %" PRIu64, order->step,
				 expected);
	if (full)
		return error_set(error, ERROR_PROTOCOL, "step %" PRIu64 " was ordered while %d wait", order->step,
				 PROTOCOL_MAXIMUM_QUEUED_STEPS);
	if (!optimizer_check_step(executor->plan->optimizer.kind, order->learning_rate, order->beta1, order->beta2,
				  error))
		return error_wrap(error, "step %" PRIu64, order->step);
	return push_order(executor, &(struct order){.kind = ORDER_STEP, .step = *order}, error);
}

bool executor_save(struct executor *executor, struct error *error)
{
	pthread_mutex_lock(&executor->lock);
	bool early = executor->save_is_waiting;
	pthread_mutex_unlock(&executor->lock);
	if (early)
		return error_set(error, ERROR_PROTOCOL, "Save came before the last one's Saved");
	return push_order(executor, &(struct order){.kind = ORDER_SAVE}, error);
}

bool executor_close(struct executor *executor, struct error *error)
{
	return push_order(executor, &(struct order){.kind = ORDER_CLOSE}, error);
}
