// One step: the schedule's instructions in their order, each by its function in the table below. Nothing here allocates. Those that cross to a
// neighbouring stage are in boundary.c, what becomes of gradients is in gradients.c, and where the time goes in times.c.
#include "common/base/clock.h"
#include "stage_server/executor/step.h"

// ---- How a step ends early

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

enum step_result step_lost(struct executor *executor, enum neighbour side)
{
	executor->lost_neighbour = side;
	return STEP_LOST;
}

enum step_result step_interrupted(struct executor *executor, struct error *error)
{
	if (!atomic_load(&executor->device_failed))
		return STEP_STOPPED;
	if (executor->ops->synchronize(executor->program, error))
		error_set(error, ERROR_FAILED, "the device returned no tensor and no reason");
	return STEP_FAILED;
}

// ---- Instructions

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
	step_end_wait(executor, PHASE_WAIT_COORDINATOR, begin);
	if (data == NULL)
		return STEP_STOPPED;
	begin = clock_now_ns();
	struct device_completion read = {.call = kind == BATCH_IMAGES ? images_are_read : labels_are_read,
					 .user = executor->batches};
	bool ok = kind == BATCH_IMAGES ? executor->ops->load_images(executor->program, slot, data, read, error)
				       : executor->ops->load_labels(executor->program, slot, data, read, error);
	step_count_time(executor, PHASE_COPY, begin);
	return ok ? STEP_DONE : STEP_FAILED;
}

static enum step_result load_input(struct step *step, uint32_t micro_batch, struct error *error)
{
	struct executor *executor = step->executor;
	uint32_t slot = step_slot(executor, micro_batch);
	enum step_result result = STEP_DONE;
	if (stage_plan_is_first(executor->plan))
		result = load_one(executor, BATCH_IMAGES, slot, error);
	if (result == STEP_DONE && stage_plan_is_last(executor->plan))
		result = load_one(executor, BATCH_LABELS, slot, error);
	return result;
}

static enum step_result forward(struct step *step, uint32_t micro_batch, struct error *error)
{
	struct executor *executor = step->executor;
	const struct stage_plan *plan = executor->plan;
	uint32_t slot = step_slot(executor, micro_batch);
	uint64_t first_sample = step->order->first_sample + (uint64_t)micro_batch * plan->micro_batch_size;
	bool ok = step_mark(executor, MARK_FORWARD_BEGIN, micro_batch, error);
	for (uint32_t layer = plan->first_layer; layer < plan->end_layer && ok; layer++)
		ok = executor->ops->forward(executor->program, slot, layer, first_sample, error);
	if (ok && stage_plan_is_last(plan))
		ok = executor->ops->loss(executor->program, slot, micro_batch, error);
	ok = ok && step_mark(executor, MARK_FORWARD_END, micro_batch, error);
	return ok ? STEP_DONE : STEP_FAILED;
}

static enum step_result backward(struct step *step, uint32_t micro_batch, struct error *error)
{
	struct executor *executor = step->executor;
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

static enum step_result optimizer_step(struct step *step, uint32_t micro_batch, struct error *error)
{
	struct executor *executor = step->executor;
	const struct step_order *order = step->order;
	const struct gradient_answer *answer = &step->answer;
	bool scaling = executor->plan->loss_scaling;
	struct optimizer_step optimizer = {.step = executor->applied_steps,
					   .learning_rate = scaling ? answer->learning_rate : order->learning_rate,
					   .beta1 = order->beta1,
					   .beta2 = order->beta2,
					   .gradient_scale = answer->scale};
	if (scaling)
		executor->loss_scale = answer->next_loss_scale;
	bool ok = step_mark(executor, MARK_OPTIMIZER_BEGIN, 0, error);
	if (!answer->skip) {
		ok = ok && executor->ops->optimizer_step(executor->program, &optimizer, error);
		executor->applied_steps++;
	}
	ok = ok && step_mark(executor, MARK_OPTIMIZER_END, 0, error);
	return ok ? STEP_DONE : STEP_FAILED;
}

// A schedule with an instruction that is not here was refused by stage_plan_read.
static enum step_result (*const functions[])(struct step *step, uint32_t micro_batch, struct error *error) = {
	[INSTRUCTION_LOAD_INPUT] = load_input,
	[INSTRUCTION_FORWARD] = forward,
	[INSTRUCTION_BACKWARD] = backward,
	[INSTRUCTION_SEND_ACTIVATION] = step_send_activation,
	[INSTRUCTION_RECV_ACTIVATION] = step_receive_activation,
	[INSTRUCTION_SEND_GRADIENT] = step_send_gradient,
	[INSTRUCTION_RECV_GRADIENT] = step_receive_gradient,
	[INSTRUCTION_REDUCE_GRADIENTS] = step_reduce_gradients,
	[INSTRUCTION_OPTIMIZER_STEP] = optimizer_step,
};

// ---- The step

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
	return true;
}

// Before the first instruction.
static bool begin_step(struct step *step, struct error *error)
{
	struct executor *executor = step->executor;
	if (!executor->ops->zero_gradients(executor->program, error))
		return false;
	if (executor->reducer != NULL)
		reducer_begin(executor->reducer, step->order->step);
	// The first replica's norms may be answered before this one has taken all of its sums.
	if (stage_plan_awaits_answer(executor->plan) && executor->plan->replica > 0)
		executor_expect_answer(executor);
	return true;
}

static enum step_result run_instructions(struct step *step, struct error *error)
{
	const struct stage_schedule *schedule = &step->executor->plan->schedule;
	for (uint32_t i = 0; i < schedule->count; i++) {
		const struct instruction *instruction = &schedule->instructions[i];
		if (atomic_load(&step->executor->stopped))
			return STEP_STOPPED;
		atomic_fetch_add_explicit(&step->executor->instructions, 1, memory_order_relaxed);
		step_turn_to_device(step->executor);
		enum step_result result = functions[instruction->kind](step, instruction->micro_batch, error);
		if (result == STEP_FAILED)
			error_wrap(error, "%s of micro-batch %u", instruction_name(instruction->kind),
				   instruction->micro_batch);
		if (result != STEP_DONE)
			return result;
	}
	return STEP_DONE;
}

// After the last instruction: waits for the device, and asks it what came out.
static bool end_step(struct executor *executor, struct error *error)
{
	step_turn_to_device(executor);
	bool ok = executor->ops->synchronize(executor->program, error) && step_sum_times(executor, error) &&
		  sum_losses(executor, error);
	step_begin_wait(executor); // for the next order
	return ok;
}

enum step_result step_run(struct executor *executor, const struct step_order *order, struct error *error)
{
	struct step step = {.executor = executor, .order = order, .answer = {.scale = 1.0f}};
	uint64_t waited_ns = executor->report.phase_ns[PHASE_WAIT_COORDINATOR]; // for the order
	uint64_t begin = clock_now_ns();
	executor->report =
		(struct step_report){.step = order->step, .phase_ns = {[PHASE_WAIT_COORDINATOR] = waited_ns}};
	if (!begin_step(&step, error))
		return STEP_FAILED;
	enum step_result result = run_instructions(&step, error);
	if (result != STEP_DONE)
		return result;
	if (!end_step(executor, error))
		return STEP_FAILED;
	executor->report.step_ns = clock_now_ns() - begin;
	step_count(executor, waited_ns);
	return STEP_DONE;
}
