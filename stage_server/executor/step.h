// What the files of a step share: step.c (its instructions), boundary.c, gradients.c and times.c. The executor's thread, except where it says
// otherwise.
#pragma once

#include "stage_server/executor/internal.h"

// What a step ended with.
enum step_result {
	STEP_DONE,
	STEP_STOPPED, // executor_stop
	STEP_FAILED,  // the device; `error` says how
	STEP_LOST,    // a neighbour, executor->lost_neighbour, is gone
};

// A step under way.
struct step {
	struct executor *executor;
	const struct step_order *order;
	struct gradient_answer answer; // from reduce_gradients, for optimizer_step
};

// step.c
enum step_result step_run(struct executor *executor, const struct step_order *order, struct error *error);
// A wait ended without what it was for, and no neighbour is lost: stopped, or the device failed.
enum step_result step_interrupted(struct executor *executor, struct error *error);
enum step_result step_lost(struct executor *executor, enum neighbour side);
// A tensor did not come out of the device. Any thread.
void step_device_failed(struct executor *executor);
static inline uint32_t step_slot(const struct executor *executor, uint32_t micro_batch)
{
	return micro_batch % executor->plan->schedule.slots;
}

// boundary.c
enum step_result step_send_activation(struct step *step, uint32_t micro_batch, struct error *error);
enum step_result step_receive_activation(struct step *step, uint32_t micro_batch, struct error *error);
enum step_result step_send_gradient(struct step *step, uint32_t micro_batch, struct error *error);
enum step_result step_receive_gradient(struct step *step, uint32_t micro_batch, struct error *error);

// gradients.c
// The layer's gradients are whole: on their way to be summed over the replicas, while the layers before it go backward.
bool step_give_gradients(struct executor *executor, uint32_t layer, struct error *error);
enum step_result step_reduce_gradients(struct step *step, uint32_t micro_batch, struct error *error);

// times.c
void step_count_time(struct executor *executor, enum phase phase, uint64_t begin); // since `begin`
void step_turn_to_device(
	struct executor *executor); // the device has the next word; executor_device_ns counts from here
// Before and after a wait for somebody else.
uint64_t step_begin_wait(struct executor *executor);
void step_end_wait(struct executor *executor, enum phase phase, uint64_t begin);
bool step_mark(struct executor *executor, enum mark mark, uint32_t micro_batch, struct error *error);
bool step_sum_times(struct executor *executor, struct error *error); // what the device took, by its marks
// The step is done: its report goes to the scrape's series and to the session's totals. `waited_ns` for the order.
void step_count(struct executor *executor, uint64_t waited_ns);
