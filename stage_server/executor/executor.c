// The executor's thread: it opens the stage, obeys one order after the other, and ends. See executor.h. The orders wait in orders.c; what
// happens inside a step is in step.c.
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "stage_server/executor/step.h"

// ---- The thread

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
	return error_set(error, ERROR_FAILED, "unknown order %d", (int)order->kind);
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
		struct order *order = executor_next_order(executor, &drained);
		if (order == NULL)
			break;
		ok = obey(executor, order, &error);
		in_good_order = !ok && error.code == ERROR_NONE;
		executor_free_order(order);
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
		executor_free_order(executor->first);
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
	free(executor->kernels);
	free(executor->kernel_is_marked);
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

uint64_t executor_instructions(struct executor *executor)
{
	return atomic_load_explicit(&executor->instructions, memory_order_relaxed);
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
