// Sums the gradients of a stage over its replicas while the backward pass still runs. The executor puts each gradient into the
// reducer's vector when its last micro-batch's backward is done with it; a thread of the reducer's own takes bucket after bucket
// around the ring of replicas (common/schedule/ring.h), as soon as all of a bucket is there; the executor takes the sums out.
//
// Threads: begin, place, wait: the executor's; put: any; stop: any. It sends and receives on the two links from its own thread.
#pragma once

#include "stage_server/exchange/link.h"
#include "stage_server/executor/stage_plan.h"

struct reducer;

// Allocates the vector in `memory`, and starts the thread. Borrows the plan; the links, which have a reference each, are those of
// the replicas before and behind.
bool reducer_create(const struct stage_plan *plan, struct link *previous, struct link *next,
		    const struct buffer_memory *memory, struct reducer **ret_reducer, struct error *error);
// After reducer_stop, and when the links are closed. Waits for the thread. Takes NULL.
void reducer_destroy(struct reducer *reducer);
uint64_t reducer_bytes(const struct stage_plan *plan); // what it allocates

// A new step: no gradient is there yet.
void reducer_begin(struct reducer *reducer, uint64_t step);
// Where the gradient of a parameter (of the model's) belongs, float32, row-major; and its sum, after reducer_wait.
float *reducer_place(struct reducer *reducer, uint32_t parameter);
void reducer_put(struct reducer *reducer, uint32_t parameter); // it is there; once a step
// Waits until the parameter's gradient is summed over all replicas. LOST: a replica is gone, and ret_side says which;
// CLOSED: reducer_stop, or its links are.
enum mailbox_status reducer_wait(struct reducer *reducer, uint32_t parameter, enum neighbour *ret_side);
void reducer_stop(struct reducer *reducer); // takes NULL; waits return CLOSED from now on; does not block
