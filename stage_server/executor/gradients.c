// What becomes of a stage's gradients before the optimizer's step: summed over the replicas, in a ring or in the device's group, and judged
// by the coordinator.
#include "common/base/clock.h"
#include "stage_server/executor/step.h"

static void gradient_is_out(void *user, bool ok)
{
	struct gradient_transfer *transfer = user;
	if (ok)
		reducer_put(transfer->executor->reducer, transfer->parameter);
	else
		step_device_failed(transfer->executor);
}

bool step_give_gradients(struct executor *executor, uint32_t layer, struct error *error)
{
	if (executor->plan->reduce_in_group)
		return executor->ops->group_reduce(executor->program, layer, error);
	if (executor->reducer == NULL)
		return true;
	const struct model *model = &executor->plan->model;
	uint64_t begin = clock_now_ns();
	bool ok = true;
	for (uint32_t i = model_first_parameter(model, layer); i < model_first_parameter(model, layer + 1) && ok; i++) {
		struct gradient_transfer *transfer = &executor->gradient_transfers[i];
		*transfer = (struct gradient_transfer){executor, i};
		struct device_completion out = {.call = gradient_is_out, .user = transfer};
		ok = executor->ops->read_gradient(executor->program, i, reducer_place(executor->reducer, i), out,
						  error);
	}
	step_count_time(executor, PHASE_COPY, begin);
	return ok;
}

static void sum_is_in(void *user, bool ok)
{
	// The vector is written again only by the next step's backward pass, which the device does after this.
}

static enum step_result take_sum(struct executor *executor, uint32_t parameter, struct error *error)
{
	enum neighbour side = NEIGHBOUR_PREVIOUS_REPLICA;
	uint64_t begin = step_begin_wait(executor);
	enum mailbox_status status = reducer_wait(executor->reducer, parameter, &side);
	step_end_wait(executor, PHASE_WAIT_REPLICAS, begin);
	if (status == MAILBOX_CLOSED)
		return step_interrupted(executor, error);
	if (status == MAILBOX_LOST)
		return step_lost(executor, side);
	begin = clock_now_ns();
	struct device_completion in = {.call = sum_is_in};
	bool ok = executor->ops->write_gradient(executor->program, parameter,
						reducer_place(executor->reducer, parameter), in, error);
	step_count_time(executor, PHASE_COPY, begin);
	return ok ? STEP_DONE : STEP_FAILED;
}

// In the order in which they were given.
static enum step_result take_sums(struct executor *executor, struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	enum step_result result = STEP_DONE;
	for (uint32_t layer = plan->end_layer; layer-- > plan->first_layer;) {
		uint32_t end = model_first_parameter(&plan->model, layer + 1);
		for (uint32_t i = model_first_parameter(&plan->model, layer); i < end && result == STEP_DONE; i++)
			result = take_sum(executor, i, error);
	}
	uint64_t bytes = plan->ring.buckets * ring_hops(&plan->ring) * plan->ring.piece_floats * sizeof(float);
	executor->report.sent_bytes += bytes;
	executor->report.received_bytes += bytes;
	return result;
}

// In a group the device waits for the sums, and its marks say how long.
static enum step_result await_group(struct executor *executor, struct error *error)
{
	bool ok = step_mark(executor, MARK_REDUCE_BEGIN, 0, error) &&
		  executor->ops->group_wait(executor->program, error) && step_mark(executor, MARK_REDUCE_END, 0, error);
	// The norms, which wait for the device, are timed here: what it waits for the other replicas is not theirs.
	ok = ok && (!stage_plan_awaits_answer(executor->plan) || executor->ops->synchronize(executor->program, error));
	return ok ? STEP_DONE : STEP_FAILED;
}

// The clipping norm, and whether a gradient overflowed, is over all stages, so the coordinator judges from every stage's sums of
// squares. All replicas hold the same gradients by now: those of the first speak for all.
static enum step_result judge_gradients(struct step *step, struct error *error)
{
	struct executor *executor = step->executor;
	const struct stage_plan *plan = executor->plan;
	if (plan->replica == 0) {
		uint64_t begin = clock_now_ns();
		bool ok = executor->ops->gradient_squares(executor->program, executor->squares, error);
		step_count_time(executor, PHASE_OPTIMIZER, begin);
		if (!ok)
			return STEP_FAILED;
		uint32_t first = model_first_parameter(&plan->model, plan->first_layer);
		executor_expect_answer(executor);
		executor->options.events->gradient_norms(executor->options.user, step->order->step, first,
							 executor->squares,
							 model_first_parameter(&plan->model, plan->end_layer) - first);
	}
	uint64_t begin = step_begin_wait(executor);
	bool set = executor_wait_for_answer(executor, &step->answer);
	step_end_wait(executor, PHASE_WAIT_COORDINATOR, begin);
	return set ? STEP_DONE : STEP_STOPPED;
}

enum step_result step_reduce_gradients(struct step *step, uint32_t micro_batch, struct error *error)
{
	struct executor *executor = step->executor;
	enum step_result result = executor->plan->reduce_in_group ? await_group(executor, error)
				  : executor->reducer != NULL     ? take_sums(executor, error)
								  : STEP_DONE;
	if (result == STEP_DONE && stage_plan_awaits_answer(executor->plan))
		result = judge_gradients(step, error);
	return result;
}
