// A stage's opening, on the executor's thread: its program, its memory and its links, all that will be allocated, before anything runs.
#include <stdlib.h>

#include "common/rpc/protocol.h"
#include "stage_server/executor/internal.h"

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

struct batches_options executor_batches_options(const struct stage_plan *plan)
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
	struct batches_options batches = executor_batches_options(plan);
	struct exchange_use use = {.host_bytes = batches_bytes(&batches) + reducer_bytes(plan)};
	for (int side = 0; side < NEIGHBOUR_COUNT; side++) {
		struct link_options link;
		link_options_of(executor, side, &link);
		if (plan->boundary[side].exists)
			*(is_handed_over(plan, side) ? &use.handover_bytes : &use.host_bytes) += link_bytes(&link);
	}
	return use;
}

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

bool executor_open(struct executor *executor, uint64_t *ret_parameters, struct error *error)
{
	struct program_spec spec;
	struct memory_use use;
	const struct stage_plan *plan = executor->plan;
	stage_plan_program_spec(plan, &spec);
	struct exchange_use exchange = exchange_use_of(executor);
	spec.beside_bytes =
		exchange.host_bytes + (executor->options.exchange_memory->is_device ? 0 : exchange.handover_bytes);
	spec.stopped = &executor->stopped;
	struct chooser chooser = executor_chooser(executor);
	spec.chooser = &chooser;
	if (!executor->ops->program_create(executor->options.device, &spec, &executor->program, error))
		return false;
	executor->ops->program_memory(executor->program, &use);
	if (!executor->options.events->reserve(executor->options.user, &use, &exchange, error) ||
	    !executor->ops->program_allocate(executor->program, error) ||
	    !batches_allocate(executor->batches, executor->options.memory, error) || !create_links(executor, error) ||
	    !create_reducer(executor, error) || !executor_draw_parameters(executor, ret_parameters, error))
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
