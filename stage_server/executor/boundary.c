// Tensors to and from the neighbouring stages: the instructions that send and receive.
#include "common/base/clock.h"
#include "stage_server/executor/step.h"

static enum phase wait_for(enum neighbour side)
{
	return side == NEIGHBOUR_PREVIOUS ? PHASE_WAIT_PREVIOUS : PHASE_WAIT_NEXT;
}

static void tensor_is_out(void *user, bool ok)
{
	struct transfer *transfer = user;
	if (ok) {
		link_send(transfer->link, transfer->step, transfer->micro_batch, transfer->buffer);
		return;
	}
	buffer_unref(transfer->buffer);
	step_device_failed(transfer->executor);
}

static enum step_result send(struct step *step, enum neighbour side, uint32_t micro_batch, struct error *error)
{
	struct executor *executor = step->executor;
	uint64_t begin = step_begin_wait(executor);
	// The pool has a buffer for every tensor that the schedule can have on its way: this waits only for what the
	// neighbour has read and gRPC has not let go of yet.
	struct buffer *buffer = link_take_buffer(executor->links[side]);
	step_end_wait(executor, wait_for(side), begin);
	if (buffer == NULL)
		return atomic_load(&executor->stopped) || atomic_load(&executor->device_failed)
			       ? step_interrupted(executor, error)
			       : step_lost(executor, side);
	begin = clock_now_ns();
	// Transfers end in order and each holds one of the pool's buffers, so the ring's next place is free.
	uint64_t number = executor->transfers_begun[side]++;
	struct transfer *transfer = &executor->transfers[side][number % executor->plan->boundary[side].send_depth];
	*transfer = (struct transfer){executor, executor->links[side], step->order->step, micro_batch, buffer};
	struct device_completion out = {.call = tensor_is_out, .user = transfer};
	bool ok = side == NEIGHBOUR_NEXT
			  ? executor->ops->read_output(executor->program, step_slot(executor, micro_batch),
						       buffer->data, out, error)
			  : executor->ops->read_input_gradient(executor->program, buffer->data, out, error);
	if (!ok)
		buffer_unref(buffer);
	step_count_time(executor, PHASE_COPY, begin);
	executor->report.sent_bytes += executor->plan->boundary[side].shape.bytes;
	return ok ? STEP_DONE : STEP_FAILED;
}

static void tensor_is_in(void *user, bool ok)
{
	link_release(user);
}

static enum step_result receive(struct step *step, enum neighbour side, uint32_t micro_batch, struct error *error)
{
	struct executor *executor = step->executor;
	const void *values = NULL;
	uint64_t begin = step_begin_wait(executor);
	enum mailbox_status status = link_receive(executor->links[side], &values);
	step_end_wait(executor, wait_for(side), begin);
	if (status == MAILBOX_CLOSED)
		return step_interrupted(executor, error);
	if (status == MAILBOX_LOST)
		return step_lost(executor, side);
	begin = clock_now_ns();
	struct device_completion in = {.call = tensor_is_in, .user = executor->links[side]};
	bool ok = side == NEIGHBOUR_PREVIOUS
			  ? executor->ops->write_input(executor->program, step_slot(executor, micro_batch), values, in,
						       error)
			  : executor->ops->write_output_gradient(executor->program, values, in, error);
	step_count_time(executor, PHASE_COPY, begin);
	executor->report.received_bytes += executor->plan->boundary[side].shape.bytes;
	return ok ? STEP_DONE : STEP_FAILED;
}

enum step_result step_send_activation(struct step *step, uint32_t micro_batch, struct error *error)
{
	return send(step, NEIGHBOUR_NEXT, micro_batch, error);
}

enum step_result step_receive_activation(struct step *step, uint32_t micro_batch, struct error *error)
{
	return receive(step, NEIGHBOUR_PREVIOUS, micro_batch, error);
}

enum step_result step_send_gradient(struct step *step, uint32_t micro_batch, struct error *error)
{
	return send(step, NEIGHBOUR_PREVIOUS, micro_batch, error);
}

enum step_result step_receive_gradient(struct step *step, uint32_t micro_batch, struct error *error)
{
	return receive(step, NEIGHBOUR_NEXT, micro_batch, error);
}
