// One step: the schedule's instructions in their order, each timed. Nothing here allocates.
#include <inttypes.h>

#include "common/base/clock.h"
#include "stage_server/executor/internal.h"

static uint32_t slot_of(const struct executor *executor, uint32_t micro_batch)
{
	return micro_batch % executor->plan->schedule.slots;
}

// Adds the time since `begin` to a sum.
static void count_time(uint64_t *sum, uint64_t begin)
{
	*sum += clock_now_ns() - begin;
}

// The device has the next word; executor_device_ns counts from here.
static void turn_to_device(struct executor *executor)
{
	atomic_store_explicit(&executor->device_since_ns, clock_now_ns(), memory_order_relaxed);
}

// Before and after a wait for somebody else, whose time goes to a sum.
static uint64_t begin_wait(struct executor *executor)
{
	atomic_store_explicit(&executor->device_since_ns, 0, memory_order_relaxed);
	return clock_now_ns();
}

static void end_wait(struct executor *executor, uint64_t *sum, uint64_t begin)
{
	count_time(sum, begin);
	turn_to_device(executor);
}

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
	uint64_t begin = begin_wait(executor);
	const uint8_t *data = batches_take(executor->batches, kind);
	end_wait(executor, &executor->report.wait_coordinator_ns, begin);
	if (data == NULL)
		return STEP_STOPPED;
	begin = clock_now_ns();
	struct device_completion read = {.call = kind == BATCH_IMAGES ? images_are_read : labels_are_read,
					 .user = executor->batches};
	bool ok = kind == BATCH_IMAGES ? executor->ops->load_images(executor->program, slot, data, read, error)
				       : executor->ops->load_labels(executor->program, slot, data, read, error);
	count_time(&executor->report.copy_ns, begin);
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

static bool mark(struct executor *executor, enum mark mark, uint32_t micro_batch, struct error *error)
{
	return executor->ops->mark(executor->program, stage_plan_mark(executor->plan, mark, micro_batch), error);
}

static enum step_result forward(struct executor *executor, uint32_t micro_batch, uint64_t first_sample,
				struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	uint32_t slot = slot_of(executor, micro_batch);
	bool ok = mark(executor, MARK_FORWARD_BEGIN, micro_batch, error);
	for (uint32_t layer = plan->first_layer; layer < plan->end_layer && ok; layer++)
		ok = executor->ops->forward(executor->program, slot, layer,
					    first_sample + (uint64_t)micro_batch * plan->micro_batch_size, error);
	if (ok && stage_plan_is_last(plan))
		ok = executor->ops->loss(executor->program, slot, micro_batch, error);
	ok = ok && mark(executor, MARK_FORWARD_END, micro_batch, error);
	return ok ? STEP_DONE : STEP_FAILED;
}

// The device's next operation says what failed. The executor's thread may be far from one: it waits for what a neighbour makes
// of this very tensor, which will never be sent. So it is woken, wherever it waits for a neighbour.
static void device_failed(struct executor *executor)
{
	atomic_store(&executor->device_failed, true);
	reducer_stop(executor->reducer);
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (executor->links[side] != NULL)
			link_wake(executor->links[side]);
}

static void gradient_is_out(void *user, bool ok)
{
	struct gradient_transfer *transfer = user;
	if (ok)
		reducer_put(transfer->executor->reducer, transfer->parameter);
	else
		device_failed(transfer->executor);
}

// The layer's gradients are whole: on their way to be summed over the replicas, while the layers before it go backward.
static bool give_gradients(struct executor *executor, uint32_t layer, struct error *error)
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
	count_time(&executor->report.copy_ns, begin);
	return ok;
}

static enum step_result backward(struct executor *executor, uint32_t micro_batch, struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	bool is_last = micro_batch + 1 == plan->micro_batches; // the schedule's checker keeps their order
	uint32_t slot = slot_of(executor, micro_batch);
	bool ok = mark(executor, MARK_BACKWARD_BEGIN, micro_batch, error) &&
		  (!stage_plan_is_last(plan) ||
		   executor->ops->loss_backward(executor->program, slot, executor->loss_scale, error));
	for (uint32_t layer = plan->end_layer; layer-- > plan->first_layer && ok;)
		ok = executor->ops->backward_weight(executor->program, slot, layer, error) &&
		     (!is_last || give_gradients(executor, layer, error)) &&
		     executor->ops->backward_input(executor->program, slot, layer, error);
	ok = ok && mark(executor, MARK_BACKWARD_END, micro_batch, error);
	return ok ? STEP_DONE : STEP_FAILED;
}

static enum step_result lost(struct executor *executor, enum neighbour side)
{
	executor->lost_neighbour = side;
	return STEP_LOST;
}

static void tensor_is_out(void *user, bool ok)
{
	struct transfer *transfer = user;
	if (ok) {
		link_send(transfer->link, transfer->step, transfer->micro_batch, transfer->buffer);
		return;
	}
	buffer_unref(transfer->buffer);
	device_failed(transfer->executor);
}

// A wait ended without what it was for, and no neighbour is lost.
static enum step_result interrupted(struct executor *executor, struct error *error)
{
	if (atomic_load(&executor->device_failed) && !executor->ops->synchronize(executor->program, error))
		return STEP_FAILED;
	return STEP_STOPPED;
}

static enum step_result send(struct executor *executor, enum neighbour side, uint64_t step, uint32_t micro_batch,
			     struct error *error)
{
	uint64_t begin = begin_wait(executor);
	// The pool has a buffer for every tensor that the schedule can have on its way: this waits only for what the
	// neighbour has read and gRPC has not let go of yet.
	struct buffer *buffer = link_take_buffer(executor->links[side]);
	end_wait(executor, &executor->report.wait_ns[side], begin);
	if (buffer == NULL)
		return atomic_load(&executor->stopped) || atomic_load(&executor->device_failed)
			       ? interrupted(executor, error)
			       : lost(executor, side);
	begin = clock_now_ns();
	// Transfers end in order and each holds one of the pool's buffers, so the ring's next place is free.
	uint64_t number = executor->transfers_begun[side]++;
	struct transfer *transfer = &executor->transfers[side][number % executor->plan->boundary[side].send_depth];
	*transfer = (struct transfer){executor, executor->links[side], step, micro_batch, buffer};
	struct device_completion out = {.call = tensor_is_out, .user = transfer};
	bool ok = side == NEIGHBOUR_NEXT
			  ? executor->ops->read_output(executor->program, slot_of(executor, micro_batch), buffer->data,
						       out, error)
			  : executor->ops->read_input_gradient(executor->program, buffer->data, out, error);
	if (!ok)
		buffer_unref(buffer);
	count_time(&executor->report.copy_ns, begin);
	executor->report.sent_bytes += executor->plan->boundary[side].shape.bytes;
	return ok ? STEP_DONE : STEP_FAILED;
}

static void tensor_is_in(void *user, bool ok)
{
	link_release(user);
}

static enum step_result receive(struct executor *executor, enum neighbour side, uint32_t micro_batch,
				struct error *error)
{
	const void *values = NULL;
	uint64_t begin = begin_wait(executor);
	enum mailbox_status status = link_receive(executor->links[side], &values);
	end_wait(executor, &executor->report.wait_ns[side], begin);
	if (status == MAILBOX_CLOSED)
		return interrupted(executor, error);
	if (status == MAILBOX_LOST)
		return lost(executor, side);
	begin = clock_now_ns();
	struct device_completion in = {.call = tensor_is_in, .user = executor->links[side]};
	bool ok = side == NEIGHBOUR_PREVIOUS
			  ? executor->ops->write_input(executor->program, slot_of(executor, micro_batch), values, in,
						       error)
			  : executor->ops->write_output_gradient(executor->program, values, in, error);
	count_time(&executor->report.copy_ns, begin);
	executor->report.received_bytes += executor->plan->boundary[side].shape.bytes;
	return ok ? STEP_DONE : STEP_FAILED;
}

static void sum_is_in(void *user, bool ok)
{
	// The vector is written again only by the next step's backward pass, which the device does after this.
}

static enum step_result take_sum(struct executor *executor, uint32_t parameter, struct error *error)
{
	enum neighbour side = NEIGHBOUR_PREVIOUS_REPLICA;
	uint64_t begin = begin_wait(executor);
	enum mailbox_status status = reducer_wait(executor->reducer, parameter, &side);
	end_wait(executor, &executor->report.wait_replicas_ns, begin);
	if (status == MAILBOX_CLOSED)
		return interrupted(executor, error);
	if (status == MAILBOX_LOST)
		return lost(executor, side);
	begin = clock_now_ns();
	struct device_completion in = {.call = sum_is_in};
	bool ok = executor->ops->write_gradient(executor->program, parameter,
						reducer_place(executor->reducer, parameter), in, error);
	count_time(&executor->report.copy_ns, begin);
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
	bool ok = mark(executor, MARK_REDUCE_BEGIN, 0, error) && executor->ops->group_wait(executor->program, error) &&
		  mark(executor, MARK_REDUCE_END, 0, error);
	// The norms, which wait for the device, are timed here: what it waits for the other replicas is not theirs.
	ok = ok && (!stage_plan_awaits_answer(executor->plan) || executor->ops->synchronize(executor->program, error));
	return ok ? STEP_DONE : STEP_FAILED;
}

// The clipping norm, and whether a gradient overflowed, is over all stages, so the coordinator judges from every stage's sums of
// squares. All replicas hold the same gradients by now: those of the first speak for all.
static enum step_result judge_gradients(struct executor *executor, uint64_t step, struct gradient_answer *ret_answer,
					struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	if (plan->replica == 0) {
		uint64_t begin = clock_now_ns();
		bool ok = executor->ops->gradient_squares(executor->program, executor->squares, error);
		count_time(&executor->report.norms_ns, begin);
		if (!ok)
			return STEP_FAILED;
		uint32_t first = model_first_parameter(&plan->model, plan->first_layer);
		executor_expect_answer(executor);
		executor->options.events->gradient_norms(executor->options.user, step, first, executor->squares,
							 model_first_parameter(&plan->model, plan->end_layer) - first);
	}
	uint64_t begin = begin_wait(executor);
	bool set = executor_wait_for_answer(executor, ret_answer);
	end_wait(executor, &executor->report.wait_coordinator_ns, begin);
	return set ? STEP_DONE : STEP_STOPPED;
}

static enum step_result reduce_gradients(struct executor *executor, uint64_t step, struct gradient_answer *ret_answer,
					 struct error *error)
{
	enum step_result result = executor->plan->reduce_in_group ? await_group(executor, error)
				  : executor->reducer != NULL     ? take_sums(executor, error)
								  : STEP_DONE;
	if (result == STEP_DONE && stage_plan_awaits_answer(executor->plan))
		result = judge_gradients(executor, step, ret_answer, error);
	return result;
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
	bool ok = mark(executor, MARK_OPTIMIZER_BEGIN, 0, error);
	if (!answer->skip) {
		ok = ok && executor->ops->optimizer_step(executor->program, &step, error);
		executor->applied_steps++;
	}
	ok = ok && mark(executor, MARK_OPTIMIZER_END, 0, error);
	return ok ? STEP_DONE : STEP_FAILED;
}

static enum step_result run(struct executor *executor, const struct instruction *instruction,
			    const struct step_order *order, struct gradient_answer *answer, struct error *error)
{
	uint32_t micro_batch = instruction->micro_batch;
	switch (instruction->kind) {
	case INSTRUCTION_LOAD_INPUT:
		return load_input(executor, slot_of(executor, micro_batch), error);
	case INSTRUCTION_FORWARD:
		return forward(executor, micro_batch, order->first_sample, error);
	case INSTRUCTION_BACKWARD:
		return backward(executor, micro_batch, error);
	case INSTRUCTION_SEND_ACTIVATION:
		return send(executor, NEIGHBOUR_NEXT, order->step, micro_batch, error);
	case INSTRUCTION_SEND_GRADIENT:
		return send(executor, NEIGHBOUR_PREVIOUS, order->step, micro_batch, error);
	case INSTRUCTION_RECV_ACTIVATION:
		return receive(executor, NEIGHBOUR_PREVIOUS, micro_batch, error);
	case INSTRUCTION_RECV_GRADIENT:
		return receive(executor, NEIGHBOUR_NEXT, micro_batch, error);
	case INSTRUCTION_REDUCE_GRADIENTS:
		return reduce_gradients(executor, order->step, answer, error);
	case INSTRUCTION_OPTIMIZER_STEP:
		return optimizer_step(executor, order, answer, error);
	case INSTRUCTION_BACKWARD_INPUT:
	case INSTRUCTION_BACKWARD_WEIGHT:
		break; // stage_plan_read refused them
	}
	error_set(error, ERROR_FAILED, "there is no instruction %d", (int)instruction->kind);
	return STEP_FAILED;
}

static void count_metrics(struct executor *executor)
{
	const struct step_report *report = &executor->report;
	const struct stage_metrics *metrics = &executor->metrics;
	const struct stage_plan *plan = executor->plan;
	metric_add(metrics->steps, 1);
	metric_add(metrics->micro_batches, plan->micro_batches);
	metric_add(metrics->samples, (uint64_t)plan->micro_batches * plan->micro_batch_size);
	metric_add(metrics->copy, report->copy_ns);
	metric_add(metrics->forward, report->forward_ns);
	metric_add(metrics->backward, report->backward_ns);
	metric_add(metrics->optimizer, report->optimizer_ns);
	metric_add(metrics->wait_previous, report->wait_ns[NEIGHBOUR_PREVIOUS]);
	metric_add(metrics->wait_next, report->wait_ns[NEIGHBOUR_NEXT]);
	metric_add(metrics->wait_replicas, report->wait_replicas_ns);
	metric_add(metrics->wait_coordinator, report->wait_coordinator_ns);
}

// Before its first step a stage waits until all others have opened, which is no step's time: `waited_ns` for the order.
static void add_to_totals(struct executor *executor, uint64_t waited_ns)
{
	const struct step_report *report = &executor->report;
	const struct stage_plan *plan = executor->plan;
	struct step_totals *totals = &executor->totals;
	pthread_mutex_lock(&executor->lock);
	totals->counted_ns = clock_now_ns();
	totals->wait_coordinator_ns += report->wait_coordinator_ns - (totals->steps == 0 ? waited_ns : 0);
	totals->steps++;
	totals->samples += (uint64_t)plan->micro_batches * plan->micro_batch_size;
	totals->copy_ns += report->copy_ns;
	totals->forward_ns += report->forward_ns;
	totals->backward_ns += report->backward_ns;
	totals->optimizer_ns += report->optimizer_ns;
	for (int side = 0; side <= NEIGHBOUR_NEXT; side++)
		totals->wait_ns[side] += report->wait_ns[side];
	totals->wait_replicas_ns += report->wait_replicas_ns;
	pthread_mutex_unlock(&executor->lock);
}

// What the device took for each kind of work, by its own clock.
static bool sum_times(struct executor *executor, struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	struct step_report *report = &executor->report;
	const struct {
		enum mark begin, end;
		uint32_t count;
		uint64_t *sum;
	} works[] = {
		{MARK_FORWARD_BEGIN, MARK_FORWARD_END, plan->micro_batches, &report->forward_ns},
		{MARK_BACKWARD_BEGIN, MARK_BACKWARD_END, plan->micro_batches, &report->backward_ns},
		{MARK_OPTIMIZER_BEGIN, MARK_OPTIMIZER_END, 1, &report->optimizer_ns},
		{MARK_REDUCE_BEGIN, MARK_REDUCE_END, plan->reduce_in_group, &report->wait_replicas_ns},
	};
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		for (uint32_t b = 0; b < works[i].count; b++) {
			uint64_t ns = 0;
			if (!executor->ops->elapsed(executor->program, stage_plan_mark(plan, works[i].begin, b),
						    stage_plan_mark(plan, works[i].end, b), &ns, error))
				return false;
			*works[i].sum += ns;
		}
	report->optimizer_ns += report->norms_ns;
	return true;
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
		turn_to_device(executor);
		enum step_result result = run(executor, instruction, order, &answer, error);
		if (result == STEP_FAILED)
			error_wrap(error, "%s of micro-batch %u", instruction_name(instruction->kind),
				   instruction->micro_batch);
		if (result != STEP_DONE)
			return result;
	}
	turn_to_device(executor);
	bool ok = executor->ops->synchronize(executor->program, error) && sum_times(executor, error) &&
		  sum_losses(executor, error);
	begin_wait(executor); // for the next order
	if (!ok)
		return STEP_FAILED;
	count_time(&executor->report.step_ns, begin);
	count_metrics(executor);
	add_to_totals(executor, waited);
	return STEP_DONE;
}
