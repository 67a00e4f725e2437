// The executor's thread and its queue of orders. See executor.h; what happens inside a step is in step.c.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/rpc/protocol.h"
#include "stage_server/executor/internal.h"

enum { SAVE_BUFFERS = 4 }; // chunks of a saved parameter that may be on their way at once

// From device to device. What replicas sum goes through the host, whichever daemon holds them.
static bool is_handed_over(const struct stage_plan *plan, enum neighbour side)
{
	return plan->boundary[side].local && (side == NEIGHBOUR_PREVIOUS || side == NEIGHBOUR_NEXT);
}

static void link_options_of(const struct executor *executor, enum neighbour side, struct link_options *ret_options)
{
	const struct stage_plan *plan = executor->plan;
	*ret_options = (struct link_options){
		.incoming = {.shape = plan->boundary[side].shape,
			     .kind = plan->boundary[side].incoming,
			     .depth = plan->boundary[side].receive_depth,
			     .connections = executor->options.connections,
			     .chunk_bytes = executor->options.chunk_bytes,
			     .tensors_per_step = plan->boundary[side].tensors_per_step,
			     .order = plan->boundary[side].order,
			     .memory = executor->options.memory},
		.outgoing = plan->boundary[side].outgoing,
		.local = plan->boundary[side].local,
		.memory = is_handed_over(plan, side) ? executor->options.exchange_memory : executor->options.memory,
		.send_depth = plan->boundary[side].send_depth,
	};
}

static struct batches_options batches_options_of(const struct stage_plan *plan)
{
	return (struct batches_options){
		.bytes = {[BATCH_IMAGES] = stage_plan_is_first(plan) ? stage_plan_image_bytes(plan) : 0,
			  [BATCH_LABELS] = stage_plan_is_last(plan) ? plan->micro_batch_size : 0},
		.micro_batches = plan->micro_batches,
		.steps = PROTOCOL_MAXIMUM_QUEUED_STEPS,
		.classes = plan->model.classes,
	};
}

static struct exchange_use exchange_use_of(const struct executor *executor)
{
	const struct stage_plan *plan = executor->plan;
	struct batches_options batches = batches_options_of(plan);
	struct exchange_use use = {.host_bytes = batches_bytes(&batches) + reducer_bytes(plan)};
	for (int side = 0; side < NEIGHBOUR_COUNT; side++) {
		struct link_options link;
		link_options_of(executor, side, &link);
		if (plan->boundary[side].exists)
			*(is_handed_over(plan, side) ? &use.handover_bytes : &use.host_bytes) += link_bytes(&link);
	}
	return use;
}

// ---- The thread

static bool create_links(struct executor *executor, struct error *error)
{
	for (int side = 0; side < NEIGHBOUR_COUNT; side++) {
		struct link_options options;
		if (!executor->plan->boundary[side].exists)
			continue;
		link_options_of(executor, side, &options);
		options.counters = executor->metrics.links[side];
		options.events = executor->options.link_events;
		options.user = executor->options.user;
		if (!link_create(&options, &executor->links[side], error))
			return error_wrap(error, "link to the %s", neighbour_name(side));
		if (side > NEIGHBOUR_NEXT) // what replicas sum does not leave the device by itself
			continue;
		executor->transfers[side] = calloc(options.send_depth, sizeof(struct transfer));
		if (executor->transfers[side] == NULL)
			return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for a link");
	}
	return true;
}

static bool create_reducer(struct executor *executor, struct error *error)
{
	if (executor->plan->ring.buckets == 0)
		return true;
	executor->gradient_transfers =
		calloc(model_parameter_count(&executor->plan->model), sizeof(*executor->gradient_transfers));
	if (executor->gradient_transfers == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for the replicas' sums");
	struct reducer *reducer;
	if (!reducer_create(executor->plan, executor->links[NEIGHBOUR_PREVIOUS_REPLICA],
			    executor->links[NEIGHBOUR_NEXT_REPLICA], executor->options.memory, &reducer, error))
		return false;
	pthread_mutex_lock(&executor->lock);
	executor->reducer = reducer; // where executor_stop looks for it
	pthread_mutex_unlock(&executor->lock);
	return true;
}

static bool draw_parameters(struct executor *executor, uint64_t *ret_count, struct error *error)
{
	const struct model *model = &executor->plan->model;
	uint32_t end = model_first_parameter(model, executor->plan->end_layer);
	*ret_count = 0;
	for (uint32_t i = model_first_parameter(model, executor->plan->first_layer); i < end; i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		float *values = malloc(parameter.count * sizeof(float));
		if (values == NULL)
			return error_set(error, ERROR_OUT_OF_MEMORY, "draw %s: no memory for %" PRIu64 " values",
					 parameter.name, parameter.count);
		model_draw_parameter(model, &parameter, executor->plan->seed, values);
		bool ok = executor->ops->write_parameter(executor->program, i, values, error);
		free(values);
		*ret_count += parameter.count;
		if (!ok)
			return error_wrap(error, "draw %s", parameter.name);
		if (atomic_load(&executor->stopped))
			return error_set(error, ERROR_CANCELLED, "stopped");
	}
	return true;
}

static bool open_stage(struct executor *executor, uint64_t *ret_parameters, struct error *error)
{
	struct program_spec spec;
	struct memory_use use;
	const struct stage_plan *plan = executor->plan;
	stage_plan_program_spec(plan, &spec);
	struct exchange_use exchange = exchange_use_of(executor);
	spec.beside_bytes =
		exchange.host_bytes + (executor->options.exchange_memory->is_device ? 0 : exchange.handover_bytes);
	spec.stopped = &executor->stopped;
	if (!executor->ops->program_create(executor->options.device, &spec, &executor->program, error))
		return false;
	executor->ops->program_memory(executor->program, &use);
	if (!executor->options.events->reserve(executor->options.user, &use, &exchange, error) ||
	    !executor->ops->program_allocate(executor->program, error) ||
	    !batches_allocate(executor->batches, executor->options.memory, error) || !create_links(executor, error) ||
	    !create_reducer(executor, error) || !draw_parameters(executor, ret_parameters, error))
		return false;
	if (executor_group_id(executor) != NULL &&
	    !executor->ops->group_id(executor->options.device, executor->group_id, error))
		return false;
	uint32_t parameters = model_parameter_count(&plan->model);
	executor->losses = calloc(plan->micro_batches, sizeof(*executor->losses));
	executor->correct = calloc(plan->micro_batches, sizeof(*executor->correct));
	executor->squares = calloc(parameters + 1, sizeof(*executor->squares));
	return (executor->squares != NULL && executor->losses != NULL && executor->correct != NULL) ||
	       error_set(error, ERROR_OUT_OF_MEMORY, "no memory for a step's results");
}

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

static bool save_one(struct executor *executor, uint32_t index, struct buffer_pool *pool, struct error *error)
{
	struct parameter parameter;
	model_parameter(&executor->plan->model, index, &parameter);
	uint64_t total = parameter.count * sizeof(float);
	float *values = malloc(total);
	if (values == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "save %s: no memory for %" PRIu64 " bytes", parameter.name,
				 total);
	bool ok = executor->ops->read_parameter(executor->program, index, values, error);
	for (uint64_t offset = 0; ok && offset < total; offset += PROTOCOL_PARAMETER_CHUNK_BYTES) {
		uint64_t size = total - offset;
		if (size > PROTOCOL_PARAMETER_CHUNK_BYTES)
			size = PROTOCOL_PARAMETER_CHUNK_BYTES;
		// Waits until the network took an earlier chunk, so that no queue grows.
		struct buffer *chunk = buffer_pool_take(pool);
		ok = chunk != NULL || error_set(error, ERROR_CANCELLED, "stopped");
		if (!ok)
			break;
		memcpy(chunk->data, (uint8_t *)values + offset, size);
		executor->options.events->saved_parameter(executor->options.user, &parameter, chunk, offset, size);
		buffer_unref(chunk);
	}
	free(values);
	return ok;
}

static bool save(struct executor *executor, struct error *error)
{
	const struct model *model = &executor->plan->model;
	uint32_t first = model_first_parameter(model, executor->plan->first_layer);
	uint32_t end = model_first_parameter(model, executor->plan->end_layer);
	struct buffer_pool *pool = buffer_pool_create(PROTOCOL_PARAMETER_CHUNK_BYTES, SAVE_BUFFERS, NULL);
	if (pool == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "save: no memory for %d chunks", SAVE_BUFFERS);
	pthread_mutex_lock(&executor->lock);
	executor->save_pool = pool;
	if (atomic_load(&executor->stopped))
		buffer_pool_close(pool);
	pthread_mutex_unlock(&executor->lock);
	bool ok = true;
	for (uint32_t i = first; i < end && ok; i++)
		ok = save_one(executor, i, pool, error);
	pthread_mutex_lock(&executor->lock);
	executor->save_pool = NULL;
	executor->save_is_waiting = false;
	pthread_mutex_unlock(&executor->lock);
	buffer_pool_destroy(pool);
	if (ok)
		executor->options.events->saved(executor->options.user, end - first);
	return ok;
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

static bool load(struct executor *executor, const struct order *order, struct error *error)
{
	struct parameter parameter;
	model_parameter(&executor->plan->model, order->parameter, &parameter);
	if (!executor->ops->write_parameter(executor->program, order->parameter, order->values, error))
		return error_wrap(error, "load %s", parameter.name);
	pthread_mutex_lock(&executor->lock);
	executor->load_is_waiting = false;
	pthread_mutex_unlock(&executor->lock);
	executor->options.events->loaded(executor->options.user, &parameter);
	return true;
}

// Runs one order; false ends the thread, with error code NONE when all is well.
static bool obey(struct executor *executor, const struct order *order, struct error *error)
{
	switch (order->kind) {
	case ORDER_LOAD:
		return load(executor, order, error);
	case ORDER_JOIN:
		return join(executor, order, error);
	case ORDER_STEP:
		return run_step(executor, &order->step, error);
	case ORDER_SAVE:
		return save(executor, error);
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
	bool ok = open_stage(executor, &parameters, &error);
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
	struct batches_options batches = batches_options_of(options->plan);
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
