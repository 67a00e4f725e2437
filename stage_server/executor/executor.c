// The executor's thread and its queue of orders. See executor.h; what happens inside a step is in step.c.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"
#include "stage_server/executor/internal.h"

// ---- The thread

// A step that must not be begun yet waits in the queue, and with it all that was ordered later.
static bool has_order(const struct executor *executor)
{
	const struct order *first = executor->first;
	return first != NULL && (first->kind != ORDER_STEP || first->step.step < executor->steps_limit);
}

// NULL when stopped, or drained. Returns owned.
static struct order *next_order(struct executor *executor, bool *ret_drained)
{
	uint64_t begin = clock_now_ns();
	pthread_mutex_lock(&executor->lock);
	while (!has_order(executor) && !executor_is_drained(executor) && !atomic_load(&executor->stopped))
		pthread_cond_wait(&executor->changed, &executor->lock);
	struct order *order = NULL;
	*ret_drained = !atomic_load(&executor->stopped) && executor_is_drained(executor);
	if (!atomic_load(&executor->stopped) && !*ret_drained) {
		order = executor->first;
		executor->first = order->next;
		if (executor->first == NULL)
			executor->last = &executor->first;
		executor->saving = order->kind == ORDER_SAVE || (executor->saving && order->kind != ORDER_STEP);
		if (order->kind == ORDER_STEP) {
			executor->queued_steps--;
			executor->begun_steps = order->step.step + 1;
		}
	}
	pthread_mutex_unlock(&executor->lock);
	executor->report.wait_coordinator_ns = clock_now_ns() - begin;
	return order;
}

// A member of the group is gone, and the device does not say which.
static void note_lost_group(struct executor *executor, const struct error *error)
{
	if (!executor->plan->reduce_in_group || error->code != ERROR_UNREACHABLE)
		return;
	executor->lost = true;
	executor->lost_neighbour = NEIGHBOUR_COUNT;
}

static bool join(struct executor *executor, const struct order *order, struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	if (!executor->ops->group_join(executor->program, order->group_id, plan->data_parallel_size, plan->replica,
				       &executor->stopped, error)) {
		note_lost_group(executor, error);
		return false;
	}
	executor->options.events->joined(executor->options.user);
	return true;
}

static bool run_step(struct executor *executor, const struct step_order *order, struct error *error)
{
	atomic_store(&executor->step, order->step);
	enum step_result result = step_run(executor, order, error);
	if (result == STEP_DONE) {
		executor->options.events->step_done(executor->options.user, &executor->report);
		return true;
	}
	if (result == STEP_STOPPED)
		return error_set(error, ERROR_CANCELLED, "stopped");
	if (result == STEP_FAILED) {
		note_lost_group(executor, error);
		return false;
	}
	executor->lost = true;
	return error_set(error, ERROR_UNREACHABLE, "the %s is gone", neighbour_name(executor->lost_neighbour));
}

// Runs one order; false ends the thread, with error code NONE when all is well.
static bool obey(struct executor *executor, const struct order *order, struct error *error)
{
	switch (order->kind) {
	case ORDER_LOAD:
		return executor_load_parameter(executor, order, error);
	case ORDER_JOIN:
		return join(executor, order, error);
	case ORDER_STEP:
		return run_step(executor, &order->step, error);
	case ORDER_SAVE:
		return executor_save_parameters(executor, error);
	case ORDER_CLOSE:
		error->code = ERROR_NONE;
		return false;
	}
	return error_set(error, ERROR_FAILED, "there is no order %d", (int)order->kind);
}

static void free_order(struct order *order)
{
	free(order->values);
	free(order);
}

static void *executor_thread(void *argument)
{
	struct executor *executor = argument;
	struct error error = {.code = ERROR_NONE};
	uint64_t parameters = 0;
	bool ok = executor_open(executor, &parameters, &error);
	if (ok)
		executor->options.events->opened(executor->options.user, parameters);
	bool in_good_order = false, drained = false;
	while (ok) {
		struct order *order = next_order(executor, &drained);
		if (order == NULL)
			break;
		ok = obey(executor, order, &error);
		in_good_order = !ok && error.code == ERROR_NONE;
		free_order(order);
	}
	if (drained) {
		executor_flush(executor);
		executor->options.events->drained(executor->options.user, executor->begun_steps);
	}
	if (error.code != ERROR_NONE && !atomic_load(&executor->stopped))
		executor->options.events->failed(executor->options.user, &error, executor->lost,
						 executor->lost_neighbour);
	executor->ops->program_destroy(executor->program);
	executor->program = NULL;
	executor->options.events->finished(executor->options.user, in_good_order);
	return NULL;
}

// ---- From other threads

bool executor_create(const struct executor_options *options, struct executor **ret_executor, struct error *error)
{
	struct executor *executor = calloc(1, sizeof(*executor));
	if (executor == NULL)
		return error_set(error, ERROR_FAILED, "no memory for an executor");
	executor->options = *options;
	executor->plan = options->plan;
	executor->ops = options->ops;
	executor->last = &executor->first;
	executor->steps_limit = UINT64_MAX;
	executor->loss_scale = options->plan->initial_loss_scale;
	pthread_mutex_init(&executor->lock, NULL);
	pthread_cond_init(&executor->changed, NULL);
	stage_metrics_init(&executor->metrics, options->metrics, options->plan->pipeline_stage);
	struct batches_options batches = executor_batches_options(options->plan);
	const struct model *model = &options->plan->model;
	bool ok = batches_create(&batches, &executor->batches, error) &&
		  loader_create(model, model_first_parameter(model, options->plan->first_layer),
				model_first_parameter(model, options->plan->end_layer), &executor->loader, error);
	if (ok) {
		int status = pthread_create(&executor->thread, NULL, executor_thread, executor);
		executor->started = status == 0;
		ok = executor->started || error_set(error, ERROR_FAILED, "start a thread: %s", strerror(status));
	}
	if (!ok) {
		executor_destroy(executor);
		return false;
	}
	*ret_executor = executor;
	return true;
}

void executor_destroy(struct executor *executor)
{
	if (executor == NULL)
		return;
	if (executor->started)
		pthread_join(executor->thread, NULL);
	reducer_destroy(executor->reducer);
	while (executor->first != NULL) {
		struct order *next = executor->first->next;
		free_order(executor->first);
		executor->first = next;
	}
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		link_unref(executor->links[side]);
	batches_destroy(executor->batches);
	loader_destroy(executor->loader);
	for (int side = 0; side <= NEIGHBOUR_NEXT; side++)
		free(executor->transfers[side]);
	free(executor->gradient_transfers);
	free(executor->losses);
	free(executor->correct);
	free(executor->squares);
	pthread_cond_destroy(&executor->changed);
	pthread_mutex_destroy(&executor->lock);
	free(executor);
}

const uint8_t *executor_group_id(const struct executor *executor)
{
	const struct stage_plan *plan = executor->plan;
	return plan->reduce_in_group && plan->replica == 0 ? executor->group_id : NULL;
}

struct link *executor_link(struct executor *executor, enum neighbour side)
{
	return executor->links[side];
}

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
		free_order(copy);
	return ok || error_set(error, ERROR_PROTOCOL, "an order after close");
}

bool executor_load(struct executor *executor, const Penstock__V1__LoadParameter *chunk,
		   const struct rpc_incoming *incoming, struct error *error)
{
	struct order order = {.kind = ORDER_LOAD};
	pthread_mutex_lock(&executor->lock);
	bool began = executor->next_step > 0, early = executor->load_is_waiting;
	pthread_mutex_unlock(&executor->lock);
	if (began)
		return error_set(error, ERROR_PROTOCOL, "load %.80s: the first step was ordered already", chunk->name);
	if (early)
		return error_set(error, ERROR_PROTOCOL, "load %.80s: it came before the last parameter's Loaded",
				 chunk->name);
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

bool executor_put_batch(struct executor *executor, const Penstock__V1__Batch *batch,
			const struct rpc_incoming *incoming, struct error *error)
{
	if (batch->kind != PENSTOCK__V1__BATCH__KIND__KIND_IMAGES &&
	    batch->kind != PENSTOCK__V1__BATCH__KIND__KIND_LABELS)
		return error_set(error, ERROR_PROTOCOL, "a batch of kind %d", (int)batch->kind);
	enum batch_kind kind = batch->kind == PENSTOCK__V1__BATCH__KIND__KIND_IMAGES ? BATCH_IMAGES : BATCH_LABELS;
	return batches_put(executor->batches, kind, batch->step, batch->micro_batch, incoming, error);
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
	return push_order(executor, &(struct order){.kind = ORDER_STEP, .step = *order}, error);
}

bool executor_set_gradient_scale(struct executor *executor, uint64_t step, const struct gradient_answer *answer,
				 struct error *error)
{
	bool scaling = executor->plan->loss_scaling;
	bool sound = isfinite(answer->scale) && answer->scale >= 0 && (scaling || !answer->skip);
	if (scaling)
		sound = sound && isfinite(answer->next_loss_scale) && answer->next_loss_scale > 0 &&
			isfinite(answer->learning_rate);
	if (!sound)
		return error_set(error, ERROR_PROTOCOL,
				 "a gradient scale of %g%s, next loss scale %g, learning rate %g",
				 (double)answer->scale, answer->skip ? " that skips" : "",
				 (double)answer->next_loss_scale, (double)answer->learning_rate);
	pthread_mutex_lock(&executor->lock);
	bool ok = executor->answer_is_awaited && !executor->answer_is_set && step == atomic_load(&executor->step);
	if (ok) {
		executor->answer = *answer;
		executor->answer_is_set = true;
		pthread_cond_signal(&executor->changed);
	}
	pthread_mutex_unlock(&executor->lock);
	return ok ||
	       error_set(error, ERROR_PROTOCOL, "a gradient scale for step %" PRIu64 ", which waits for none", step);
}

void executor_expect_answer(struct executor *executor)
{
	pthread_mutex_lock(&executor->lock);
	executor->answer_is_awaited = true;
	executor->answer_is_set = false;
	pthread_mutex_unlock(&executor->lock);
}

bool executor_wait_for_answer(struct executor *executor, struct gradient_answer *ret_answer)
{
	pthread_mutex_lock(&executor->lock);
	while (!executor->answer_is_set && !atomic_load(&executor->stopped))
		pthread_cond_wait(&executor->changed, &executor->lock);
	bool set = executor->answer_is_set;
	*ret_answer = executor->answer;
	executor->answer_is_awaited = executor->answer_is_set = false;
	pthread_mutex_unlock(&executor->lock);
	return set;
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

void executor_close(struct executor *executor)
{
	push_order(executor, &(struct order){.kind = ORDER_CLOSE}, NULL); // a second one changes nothing
}

void executor_stop(struct executor *executor)
{
	batches_close(executor->batches);
	pthread_mutex_lock(&executor->lock);
	atomic_store(&executor->stopped, true);
	if (executor->save_pool != NULL)
		buffer_pool_close(executor->save_pool);
	reducer_stop(executor->reducer);
	pthread_cond_broadcast(&executor->changed);
	pthread_mutex_unlock(&executor->lock);
}

uint64_t executor_device_ns(struct executor *executor)
{
	uint64_t since = atomic_load_explicit(&executor->device_since_ns, memory_order_relaxed), now = clock_now_ns();
	return since != 0 && now > since ? now - since : 0;
}

uint64_t executor_step(struct executor *executor)
{
	return atomic_load(&executor->step);
}

void executor_totals(struct executor *executor, struct step_totals *ret_totals)
{
	pthread_mutex_lock(&executor->lock);
	*ret_totals = executor->totals;
	pthread_mutex_unlock(&executor->lock);
}
