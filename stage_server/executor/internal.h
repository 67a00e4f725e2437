// What the files of an executor share.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "stage_server/executor/executor.h"
#include "stage_server/executor/loader.h"
#include "stage_server/executor/reducer.h"

enum order_kind { ORDER_LOAD, ORDER_JOIN, ORDER_STEP, ORDER_SAVE, ORDER_CLOSE };

// Of the coordinator to a step's gradient norms.
enum answer_state {
	ANSWER_UNEXPECTED, // one that comes is refused
	ANSWER_EXPECTED,   // this step's norms are on their way, or known to the coordinator: its answer is taken
	ANSWER_HERE,       // the executor's thread takes it; a second one is refused
};

// Where the stage's questions about kernels stand; see kernels.c.
enum kernels_state {
	KERNELS_UNEXPECTED, // nothing is asked, or times are being taken: whatever comes is refused
	KERNELS_RECALLING,  // takes the answers that are known, of any of the questions
	KERNELS_SETTLING,   // takes what is to be timed, or the answers to all that is open
	KERNELS_TIMING,     // what is to be timed is here
	KERNELS_ANSWERED,
};

struct order {
	struct order *next;
	enum order_kind kind;
	struct step_order step;
	uint32_t parameter;                      // load
	float *values;                           // load; owned
	uint8_t group_id[DEVICE_GROUP_ID_BYTES]; // join
};

// A gradient that the device is copying out, to be summed over the replicas when it is there.
struct gradient_transfer {
	struct executor *executor;
	uint32_t parameter;
};

// A tensor that the device is copying out, to be sent when it is there.
struct transfer {
	struct executor *executor;
	struct link *link;
	uint64_t step;
	uint32_t micro_batch;
	struct buffer *buffer;
};

struct executor {
	struct executor_options options;
	struct stage_plan *plan;
	const struct device_ops *ops;
	struct stage_metrics metrics;
	pthread_t thread;
	struct link *links[NEIGHBOUR_COUNT];
	struct batches *batches;
	struct loader *loader;
	struct reducer *reducer; // NULL: there is no ring
	_Atomic(bool) stopped;
	_Atomic(bool) device_failed; // a tensor did not come out of it; the executor's thread asks the device why
	_Atomic(uint64_t) step, instructions;
	_Atomic(uint64_t) device_since_ns; // 0: it waits

	uint8_t group_id[DEVICE_GROUP_ID_BYTES]; // of replica 0 in a group; written before `opened`

	// The thread's own.
	struct program *program;
	struct step_report report;
	float *losses;     // [micro_batches] on the last stage
	uint32_t *correct; // [micro_batches] on the last stage
	float loss_scale;
	uint64_t applied_steps; // optimizer steps that were not skipped
	// Of the neighbouring stages, [send_depth]: on their way from the device to the link, a ring.
	struct transfer *transfers[NEIGHBOUR_NEXT + 1];
	uint64_t transfers_begun[NEIGHBOUR_NEXT + 1];
	struct gradient_transfer *gradient_transfers; // [parameters]
	double *squares;                              // [parameters]: sums of squares, when clipping
	bool started;                                 // the thread
	bool lost;                                    // a neighbour, and which
	enum neighbour lost_neighbour;

	pthread_mutex_t lock; // the rest, and `reducer` until `opened`
	pthread_cond_t changed;
	// The orders that wait.
	struct order *first, **last;
	uint32_t queued_steps;
	uint64_t next_step;                    // to be ordered
	bool load_is_waiting, save_is_waiting; // or is being done
	bool closing;                          // Close was ordered: nothing comes after it
	// The end that an administrator asks for.
	uint64_t begun_steps;
	uint64_t steps_limit; // no step from this number on is begun; UINT64_MAX: until executor_hold
	bool draining;        // executor_drain
	bool saving;          // from its order to the next step's

	// While the stage is opened; of the program.
	enum kernels_state kernels_state;
	struct choice **kernels; // [kernel_count]; owned
	bool *kernel_is_marked;  // [kernel_count]: to be timed; owned
	uint32_t kernel_count;

	enum answer_state answer_state;
	struct gradient_answer answer;
	struct buffer_pool *save_pool; // while saving, so that a stop can wake it
	struct step_totals totals;
};

// orders.c. The next order; NULL when stopped, or drained. Waits. Returns owned.
struct order *executor_next_order(struct executor *executor, bool *ret_drained);
void executor_free_order(struct order *order);

// opening.c. Builds the program and allocates all that the stage needs; what is half built, executor_destroy frees.
bool executor_open(struct executor *executor, uint64_t *ret_parameters, struct error *error);
struct batches_options executor_batches_options(const struct stage_plan *plan);

// kernels.c
struct chooser executor_chooser(struct executor *executor); // of the executor's program

// parameters.c
// Draws the stage's initial values; ERROR_CANCELLED when stopped meanwhile.
bool executor_draw_parameters(struct executor *executor, uint64_t *ret_count, struct error *error);
bool executor_load_parameter(struct executor *executor, const struct order *order, struct error *error);
bool executor_save_parameters(struct executor *executor, struct error *error);

// gradient_answer.c
// Before the gradient norms are sent, so that the answer finds somebody.
void executor_expect_answer(struct executor *executor);
// Waits for the coordinator's answer to the gradient norms; false when stopped.
bool executor_wait_for_answer(struct executor *executor, struct gradient_answer *ret_answer);

// drain.c
// With the lock held: executor_drain has come to its end, and the next order is not to be begun.
bool executor_is_drained(const struct executor *executor);
// Waits until all that was sent to neighbours has left, or they are gone.
void executor_flush(struct executor *executor);
