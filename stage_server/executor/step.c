// One step: the schedule's instructions in their order, each timed. Nothing here allocates.
#include "common/base/clock.h"
#include "stage_server/executor/step.h"

static void images_are_read(void *user, bool ok)
{
	batches_release(user, BATCH_IMAGES);
}

static void labels_are_read(void *user, bool ok)
{
	batches_release(user, BATCH_LABELS);
}

static enum step_result load_one(struct executor *executor, enum batch_kind kind, uint32_t slot, struct error *error)
{
	uint64_t begin = step_begin_wait(executor);
	const uint8_t *data = batches_take(executor->batches, kind);
	step_end_wait(executor, &executor->report.wait_coordinator_ns, begin);
	if (data == NULL)
		return STEP_STOPPED;
	begin = clock_now_ns();
	struct device_completion read = {.call = kind == BATCH_IMAGES ? images_are_read : labels_are_read,
					 .user = executor->batches};
	bool ok = kind == BATCH_IMAGES ? executor->ops->load_images(executor->program, slot, data, read, error)
				       : executor->ops->load_labels(executor->program, slot, data, read, error);
	step_count_time(&executor->report.copy_ns, begin);
	return ok ? STEP_DONE : STEP_FAILED;
}

static enum step_result load_input(struct executor *executor, uint32_t slot, struct error *error)
{
	enum step_result result = STEP_DONE;
	if (stage_plan_is_first(executor->plan))
		result = load_one(executor, BATCH_IMAGES, slot, error);
	if (result == STEP_DONE && stage_plan_is_last(executor->plan))
		result = load_one(executor, BATCH_LABELS, slot, error);
	return result;
}

static enum step_result forward(struct executor *executor, uint32_t micro_batch, uint64_t first_sample,
				struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	uint32_t slot = step_slot(executor, micro_batch);
	bool ok = step_mark(executor, MARK_FORWARD_BEGIN, micro_batch, error);
	for (uint32_t layer = plan->first_layer; layer < plan->end_layer && ok; layer++)
		ok = executor->ops->forward(executor->program, slot, layer,
					    first_sample + (uint64_t)micro_batch * plan->micro_batch_size, error);
	if (ok && stage_plan_is_last(plan))
		ok = executor->ops->loss(executor->program, slot, micro_batch, error);
	ok = ok && step_mark(executor, MARK_FORWARD_END, micro_batch, error);
	return ok ? STEP_DONE : STEP_FAILED;
}

// The device's next operation says what failed. The executor's thread may be far from one: it waits for what a neighbour makes
// of this very tensor, which will never be sent. So it is woken, wherever it waits for a neighbour.
void step_device_failed(struct executor *executor)
{
	atomic_store(&executor->device_failed, true);
	reducer_stop(executor->reducer);
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (executor->links[side] != NULL)
			link_wake(executor->links[side]);
}

static enum step_result backward(struct executor *executor, uint32_t micro_batch, struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	bool is_last = micro_batch + 1 == plan->micro_batches; // the schedule's checker keeps their order
	uint32_t slot = step_slot(executor, micro_batch);
	bool ok = step_mark(executor, MARK_BACKWARD_BEGIN, micro_batch, error) &&
		  (!stage_plan_is_last(plan) ||
		   executor->ops->loss_backward(executor->program, slot, executor->loss_scale, error));
	for (uint32_t layer = plan->end_layer; layer-- > plan->first_layer && ok;)
		ok = executor->ops->backward_weight(executor->program, slot, layer, error) &&
		     (!is_last || step_give_gradients(executor, layer, error)) &&
		     executor->ops->backward_input(executor->program, slot, layer, error);
	ok = ok && step_mark(executor, MARK_BACKWARD_END, micro_batch, error);
	return ok ? STEP_DONE : STEP_FAILED;
}

enum step_result step_lost(struct executor *executor, enum neighbour side)
{
	executor->lost_neighbour = side;
	return STEP_LOST;
}

enum step_result step_interrupted(struct executor *executor, struct error *error)
{
	if (atomic_load(&executor->device_failed) && !executor->ops->synchronize(executor->program, error))
		return STEP_FAILED;
	return STEP_STOPPED;
}

static enum step_result optimizer_step(struct executor *executor, const struct step_order *order,
				       const struct gradient_answer *answer, struct error *error)
{
	bool scaling = executor->plan->loss_scaling;
	struct optimizer_step step = {.step = executor->applied_steps,
				      .learning_rate = scaling ? answer->learning_rate : order->learning_rate,
				      .beta1 = order->beta1,
				      .beta2 = order->beta2,
				      .gradient_scale = answer->scale};
	if (scaling)
		executor->loss_scale = answer->next_loss_scale;
	bool ok = step_mark(executor, MARK_OPTIMIZER_BEGIN, 0, error);
	if (!answer->skip) {
		ok = ok && executor->ops->optimizer_step(executor->program, &step, error);
		executor->applied_steps++;
	}
	ok = ok && step_mark(executor, MARK_OPTIMIZER_END, 0, error);
	return ok ? STEP_DONE : STEP_FAILED;
}

static enum step_result run(struct executor *executor, const struct instruction *instruction,
			    const struct step_order *order, struct gradient_answer *answer, struct error *error)
{
	uint32_t micro_batch = instruction->micro_batch;
	switch (instruction->kind) {
	case INSTRUCTION_LOAD_INPUT:
		return load_input(executor, step_slot(executor, micro_batch), error);
	case INSTRUCTION_FORWARD:
		return forward(executor, micro_batch, order->first_sample, error);
	case INSTRUCTION_BACKWARD:
		return backward(executor, micro_batch, error);
	case INSTRUCTION_SEND_ACTIVATION:
		return step_send(executor, NEIGHBOUR_NEXT, order->step, micro_batch, error);
	case INSTRUCTION_SEND_GRADIENT:
		return step_send(executor, NEIGHBOUR_PREVIOUS, order->step, micro_batch, error);
	case INSTRUCTION_RECV_ACTIVATION:
		return step_receive(executor, NEIGHBOUR_PREVIOUS, micro_batch, error);
	case INSTRUCTION_RECV_GRADIENT:
		return step_receive(executor, NEIGHBOUR_NEXT, micro_batch, error);
	case INSTRUCTION_REDUCE_GRADIENTS:
		return step_reduce_gradients(executor, order->step, answer, error);
	case INSTRUCTION_OPTIMIZER_STEP:
		return optimizer_step(executor, order, answer, error);
	case INSTRUCTION_BACKWARD_INPUT:
	case INSTRUCTION_BACKWARD_WEIGHT:
		break; // stage_plan_read refused them
	}
	error_set(error, ERROR_FAILED, "there is no instruction %d", (int)instruction->kind);
	return STEP_FAILED;
}

static bool sum_losses(struct executor *executor, struct error *error)
{
	uint32_t count = executor->plan->micro_batches;
	if (!stage_plan_is_last(executor->plan))
		return true;
	if (!executor->ops->read_losses(executor->program, count, executor->losses, executor->correct, error))
		return false;
	double sum = 0.0; // in order, so that the bits do not depend on the schedule
	for (uint32_t b = 0; b < count; b++) {
		sum += executor->losses[b];
		executor->report.correct += executor->correct[b];
	}
	executor->report.loss = sum / count;
	executor->report.has_loss = true;
	return true;
}

enum step_result step_run(struct executor *executor, const struct step_order *order, struct error *error)
{
	const struct stage_schedule *schedule = &executor->plan->schedule;
	uint64_t waited = executor->report.wait_coordinator_ns; // for the order
	uint64_t begin = clock_now_ns();
	executor->report = (struct step_report){.step = order->step, .wait_coordinator_ns = waited};
	struct gradient_answer answer = {.scale = 1.0f};
	if (!executor->ops->zero_gradients(executor->program, error))
		return STEP_FAILED;
	if (executor->reducer != NULL)
		reducer_begin(executor->reducer, order->step);
	// The first replica's norms may be answered before this one has taken all of its sums.
	if (stage_plan_awaits_answer(executor->plan) && executor->plan->replica > 0)
		executor_expect_answer(executor);
	for (uint32_t i = 0; i < schedule->count; i++) {
		const struct instruction *instruction = &schedule->instructions[i];
		if (atomic_load(&executor->stopped))
			return STEP_STOPPED;
		step_turn_to_device(executor);
		enum step_result result = run(executor, instruction, order, &answer, error);
		if (result == STEP_FAILED)
			error_wrap(error, "%s of micro-batch %u", instruction_name(instruction->kind),
				   instruction->micro_batch);
		if (result != STEP_DONE)
			return result;
	}
	step_turn_to_device(executor);
	bool ok = executor->ops->synchronize(executor->program, error) && step_sum_times(executor, error) &&
		  sum_losses(executor, error);
	step_begin_wait(executor); // for the next order
	if (!ok)
		return STEP_FAILED;
	step_count_time(&executor->report.step_ns, begin);
	step_count(executor, waited);
	return STEP_DONE;
}
