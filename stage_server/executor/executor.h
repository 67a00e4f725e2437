// The thread that owns a stage: it builds the device's program, runs the schedule's instructions step after step, and
// frees everything when it ends. Orders wait in a queue; between two instructions it looks whether it was stopped.
// Not here: who gives the orders (session/).
//
// Threads: every function from any thread, except where it says otherwise. Events run on the executor's own thread.
#pragma once

#include "common/job/kernels.h"
#include "common/job/parameter.h"
#include "common/job/step.h"
#include "stage_server/device/device.h"
#include "stage_server/device/tuning.h"
#include "stage_server/executor/batches.h"
#include "stage_server/executor/stage_metrics.h"
#include "stage_server/executor/stage_plan.h"

// Sums of the reports of all steps done.
struct step_totals {
	uint64_t counted_ns; // clock_now_ns when the last one ended; 0: none has
	uint64_t steps, samples;
	uint64_t phase_ns[PHASE_COUNT];
};

// What a stage allocates beside its program.
struct exchange_use {
	uint64_t host_bytes;     // mailboxes, pools, queued data
	uint64_t handover_bytes; // tensors for stages of this daemon: exchange_allocate's memory
};

struct executor_events {
	// Which kernels the stage wants to know of: executor_put_answers has what is known.
	void (*questions)(void *user, const struct choice *choices, uint32_t count);
	// The kernels of what is still open: executor_time_kernels and executor_put_answers, until all are answered.
	void (*candidates)(void *user, struct choice *const *open, uint32_t count);
	void (*timed)(void *user, const struct choice *choice, const uint64_t *ns); // [choice->count]
	// What the stage will allocate is known: may it? Called before anything is allocated.
	bool (*reserve)(void *user, const struct memory_use *use, const struct exchange_use *exchange,
			struct error *error);
	// The program stands and its parameters are drawn; executor_link works from now on.
	void (*opened)(void *user, uint64_t parameters);
	void (*loaded)(void *user, const struct parameter *parameter); // executor_load takes the next one
	void (*joined)(void *user);                                    // executor_join
	void (*step_done)(void *user, const struct step_report *report);
	void (*gradient_norms)(void *user, uint64_t step, uint32_t first_parameter, const double *squares,
			       uint32_t count);
	void (*saved_parameter)(void *user, const struct parameter *parameter, struct buffer *values,
				uint64_t offset_bytes, uint64_t size_bytes);
	void (*saved)(void *user, uint32_t parameters);
	// The job is over. `lost` says that a neighbour is gone, which is somebody else's fault; NEIGHBOUR_COUNT: a replica, nobody
	// knows which.
	void (*failed)(void *user, const struct error *error, bool lost, enum neighbour neighbour);
	// After executor_drain: the steps it had begun, `steps` so far, are done, and what it made for its neighbours has left. It
	// ends.
	void (*drained)(void *user, uint64_t steps);
	// The last event: the program is freed. `in_good_order`: after executor_close, with all its work done.
	void (*finished)(void *user, bool in_good_order);
};

struct executor_options {
	struct stage_plan *plan; // borrowed until executor_destroy
	const struct device_ops *ops;
	struct device *device;
	// Of what is exchanged with the device, and with stages of this daemon. Borrowed until executor_destroy, copied by pools.
	const struct buffer_memory *memory, *exchange_memory;
	struct tuning *tuning; // of the device
	uint32_t connections, chunk_bytes;
	struct metrics *metrics;
	const struct executor_events *events;
	const struct link_events *link_events;
	void *user; // of both
};

struct executor;

// Starts the thread. Returns owned.
bool executor_create(const struct executor_options *options, struct executor **ret_executor, struct error *error);
// After `opened`; NULL: no such neighbour. Borrowed until executor_destroy.
struct link *executor_link(struct executor *executor, enum neighbour side);

// After `opened`: the new group's id, [DEVICE_GROUP_ID_BYTES], borrowed until executor_destroy; NULL: another replica makes it, or there is no group.
const uint8_t *executor_group_id(const struct executor *executor);

// While the stage is opened. ERROR_PROTOCOL when they come out of order, or are about what was not asked.
bool executor_put_answers(struct executor *executor, const struct kernel_answers *answers, struct error *error);
bool executor_time_kernels(struct executor *executor, const struct kernel_keys *keys, struct error *error);

// Orders. ERROR_PROTOCOL when one comes out of order or too many wait.
bool executor_load(struct executor *executor, const struct parameter_chunk *chunk, const struct rpc_incoming *incoming,
		   struct error *error); // one stream's callbacks only
bool executor_put_batch(struct executor *executor, const struct batch *batch, const struct rpc_incoming *incoming,
			struct error *error); // one stream's callbacks only
// With the plan's reduce_in_group, once: joins the other replicas with replica 0's id.
bool executor_join(struct executor *executor, const uint8_t *group_id, struct error *error);
bool executor_run_step(struct executor *executor, const struct step_order *order, struct error *error);
bool executor_set_gradient_scale(struct executor *executor, const struct gradient_answer *answer, struct error *error);
bool executor_save(struct executor *executor, struct error *error);
bool executor_close(struct executor *executor, struct error *error); // finish what was ordered, then end
void executor_stop(struct executor *executor);                       // end at the next instruction; does not block
uint64_t executor_step(struct executor *executor);                   // the last one begun
void executor_totals(struct executor *executor, struct step_totals *ret_totals);
// How long the device has run one instruction of a step; 0: the stage waits for somebody else, or for an order.
uint64_t executor_device_ns(struct executor *executor);
uint64_t executor_instructions(struct executor *executor); // of all steps, begun so far

// Ends once the steps that were begun are done; those that wait are not begun, and a save that was ordered is ended too, with what
// follows it. In two halves: several stages of one job end with the same step when each of them is told to hold, and then all are told
// the largest number of steps that any had begun, of which each still begins those that it has not.
uint64_t executor_hold(struct executor *executor); // begins no further step; returns how many it has begun
void executor_drain(struct executor *executor, uint64_t steps);

// After `finished` and after the links' `over`. Waits for the thread. Takes NULL.
void executor_destroy(struct executor *executor);
