// See reducer.h.
//
// The vector holds the last layer's gradients first, for that is how the backward pass gives them. What is there, and what is summed,
// is told by how far from its beginning: parameters count as there when all before them are.
#include "stage_server/executor/reducer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct place {
	uint64_t offset, floats; // in the vector
	bool here;               // in this step
};

struct reducer {
	const struct stage_plan *plan;
	struct link *previous, *next;
	struct buffer_memory memory;
	float *vector; // [ring.floats]
	uint32_t first_parameter, count;
	struct place *places; // [count], by parameter
	uint32_t *order;      // [count]: parameters in the vector's order
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; // the rest, and `here`
	pthread_cond_t changed;
	uint64_t step;
	bool begun;         // the step's sums are not all made yet
	uint32_t here;      // of `order`, from its beginning
	uint64_t summed;    // floats of the vector, from its beginning
	bool lost, stopped; // the first: a replica
	enum neighbour lost_side;
};

// ---- The reducer's thread

// Waits for a step to begin; false when stopped.
static bool next_step(struct reducer *reducer, uint64_t *ret_step)
{
	pthread_mutex_lock(&reducer->lock);
	while (!reducer->begun && !reducer->stopped)
		pthread_cond_wait(&reducer->changed, &reducer->lock);
	*ret_step = reducer->step;
	bool stopped = reducer->stopped;
	pthread_mutex_unlock(&reducer->lock);
	return !stopped;
}

// With the lock held: floats of the vector that are there.
static uint64_t floats_here(const struct reducer *reducer)
{
	return reducer->here == reducer->count ? reducer->plan->ring.floats
					       : reducer->places[reducer->order[reducer->here]].offset;
}

// Waits until the vector is there up to `end`; false when stopped.
static bool wait_for_gradients(struct reducer *reducer, uint64_t end)
{
	pthread_mutex_lock(&reducer->lock);
	while (floats_here(reducer) < end && !reducer->stopped)
		pthread_cond_wait(&reducer->changed, &reducer->lock);
	bool stopped = reducer->stopped;
	pthread_mutex_unlock(&reducer->lock);
	return !stopped;
}

static void add(float *restrict into, const float *restrict values, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		into[i] += values[i];
}

// One hop of a bucket, which begins at `bucket`; `number` is the piece's in the step. LOST: the replica at *ret_side is gone.
static enum mailbox_status run_hop(struct reducer *reducer, float *bucket, uint32_t index, uint64_t step,
				   uint32_t number, enum neighbour *ret_side)
{
	const struct ring *ring = &reducer->plan->ring;
	struct ring_hop hop = ring_hop_at(ring, reducer->plan->replica, index);
	const void *values = NULL;
	struct buffer *out = link_take_buffer(reducer->next);
	*ret_side = NEIGHBOUR_NEXT_REPLICA;
	if (out == NULL)
		return MAILBOX_LOST; // or stopped, which counts first
	memcpy(out->data, bucket + hop.send * ring->piece_floats, ring->piece_floats * sizeof(float));
	link_send(reducer->next, step, number, out);
	*ret_side = NEIGHBOUR_PREVIOUS_REPLICA;
	enum mailbox_status status = link_receive(reducer->previous, &values);
	if (status != MAILBOX_OK)
		return status;
	float *into = bucket + hop.receive * ring->piece_floats;
	if (hop.add)
		add(into, values, ring->piece_floats);
	else
		memcpy(into, values, ring->piece_floats * sizeof(float));
	link_release(reducer->previous);
	return MAILBOX_OK;
}

static bool sum_bucket(struct reducer *reducer, uint64_t bucket, uint64_t step)
{
	const struct ring *ring = &reducer->plan->ring;
	uint64_t floats = ring->replicas * ring->piece_floats, begin = bucket * floats;
	if (!wait_for_gradients(reducer, begin + floats))
		return false;
	enum mailbox_status status = MAILBOX_OK;
	enum neighbour side = NEIGHBOUR_PREVIOUS_REPLICA;
	for (uint32_t i = 0; i < ring_hops(ring) && status == MAILBOX_OK; i++)
		status = run_hop(reducer, reducer->vector + begin, i, step, (uint32_t)(bucket * ring_hops(ring) + i),
				 &side);
	pthread_mutex_lock(&reducer->lock);
	if (status == MAILBOX_OK)
		reducer->summed = begin + floats;
	reducer->lost |= status == MAILBOX_LOST;
	reducer->stopped |= status == MAILBOX_CLOSED;
	reducer->lost_side = side;
	reducer->begun = reducer->summed < ring->floats;
	pthread_cond_broadcast(&reducer->changed);
	pthread_mutex_unlock(&reducer->lock);
	return status == MAILBOX_OK;
}

static void *reducer_thread(void *argument)
{
	struct reducer *reducer = argument;
	uint64_t step;
	bool ok = true;
	while (ok && next_step(reducer, &step))
		for (uint64_t bucket = 0; bucket < reducer->plan->ring.buckets && ok; bucket++)
			ok = sum_bucket(reducer, bucket, step);
	return NULL;
}

// ---- The executor's side

// In the order in which the backward pass gives them: from the last layer to the first, a layer's own in the model's order.
static void lay_out(struct reducer *reducer)
{
	const struct model *model = &reducer->plan->model;
	uint64_t offset = reducer->plan->ring.first;
	uint32_t placed = 0;
	for (uint32_t layer = reducer->plan->end_layer; layer-- > reducer->plan->first_layer;)
		for (uint32_t i = model_first_parameter(model, layer); i < model_first_parameter(model, layer + 1);
		     i++) {
			struct parameter parameter;
			model_parameter(model, i, &parameter);
			struct place *place = &reducer->places[i - reducer->first_parameter];
			*place = (struct place){.offset = offset, .floats = parameter.count};
			reducer->order[placed++] = i - reducer->first_parameter;
			offset += parameter.count;
		}
}

uint64_t reducer_bytes(const struct stage_plan *plan)
{
	return plan->ring.floats * sizeof(float);
}

bool reducer_create(const struct stage_plan *plan, struct link *previous, struct link *next,
		    const struct buffer_memory *memory, struct reducer **ret_reducer, struct error *error)
{
	struct reducer *reducer = calloc(1, sizeof(*reducer));
	if (reducer == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for the replicas' sums");
	reducer->plan = plan;
	reducer->memory = *memory;
	reducer->first_parameter = model_first_parameter(&plan->model, plan->first_layer);
	reducer->count = model_first_parameter(&plan->model, plan->end_layer) - reducer->first_parameter;
	reducer->places = calloc(reducer->count, sizeof(*reducer->places));
	reducer->order = calloc(reducer->count, sizeof(*reducer->order));
	reducer->vector = memory->allocate(memory->user, reducer_bytes(plan));
	pthread_mutex_init(&reducer->lock, NULL);
	pthread_cond_init(&reducer->changed, NULL);
	link_ref(previous);
	link_ref(next);
	reducer->previous = previous;
	reducer->next = next;
	bool ok = (reducer->places != NULL && reducer->order != NULL && reducer->vector != NULL) ||
		  error_set(error, ERROR_OUT_OF_MEMORY, "no memory for the replicas' sums: %" PRIu64 " bytes",
			    reducer_bytes(plan));
	if (ok) {
		memset(reducer->vector, 0, reducer_bytes(plan)); // the padding stays so
		lay_out(reducer);
		int status = pthread_create(&reducer->thread, NULL, reducer_thread, reducer);
		reducer->started = status == 0;
		ok = reducer->started || error_set(error, ERROR_FAILED, "start a thread: %s", strerror(status));
	}
	if (!ok) {
		reducer_destroy(reducer);
		return false;
	}
	*ret_reducer = reducer;
	return true;
}

void reducer_destroy(struct reducer *reducer)
{
	if (reducer == NULL)
		return;
	reducer_stop(reducer);
	if (reducer->started)
		pthread_join(reducer->thread, NULL);
	link_unref(reducer->previous);
	link_unref(reducer->next);
	if (reducer->vector != NULL)
		reducer->memory.release(reducer->memory.user, reducer->vector);
	free(reducer->places);
	free(reducer->order);
	pthread_cond_destroy(&reducer->changed);
	pthread_mutex_destroy(&reducer->lock);
	free(reducer);
}

void reducer_begin(struct reducer *reducer, uint64_t step)
{
	pthread_mutex_lock(&reducer->lock);
	for (uint32_t i = 0; i < reducer->count; i++)
		reducer->places[i].here = false;
	reducer->here = 0;
	reducer->summed = 0;
	reducer->step = step;
	reducer->begun = true;
	pthread_cond_broadcast(&reducer->changed);
	pthread_mutex_unlock(&reducer->lock);
}

float *reducer_place(struct reducer *reducer, uint32_t parameter)
{
	return reducer->vector + reducer->places[parameter - reducer->first_parameter].offset;
}

void reducer_put(struct reducer *reducer, uint32_t parameter)
{
	pthread_mutex_lock(&reducer->lock);
	reducer->places[parameter - reducer->first_parameter].here = true;
	while (reducer->here < reducer->count && reducer->places[reducer->order[reducer->here]].here)
		reducer->here++;
	pthread_cond_broadcast(&reducer->changed);
	pthread_mutex_unlock(&reducer->lock);
}

enum mailbox_status reducer_wait(struct reducer *reducer, uint32_t parameter, enum neighbour *ret_side)
{
	const struct place *place = &reducer->places[parameter - reducer->first_parameter];
	pthread_mutex_lock(&reducer->lock);
	while (reducer->summed < place->offset + place->floats && !reducer->lost && !reducer->stopped)
		pthread_cond_wait(&reducer->changed, &reducer->lock);
	enum mailbox_status status = reducer->stopped                                   ? MAILBOX_CLOSED
				     : reducer->summed >= place->offset + place->floats ? MAILBOX_OK
											: MAILBOX_LOST;
	*ret_side = reducer->lost_side;
	pthread_mutex_unlock(&reducer->lock);
	return status;
}

void reducer_stop(struct reducer *reducer)
{
	if (reducer == NULL)
		return;
	pthread_mutex_lock(&reducer->lock);
	reducer->stopped = true;
	pthread_cond_broadcast(&reducer->changed);
	pthread_mutex_unlock(&reducer->lock);
}
