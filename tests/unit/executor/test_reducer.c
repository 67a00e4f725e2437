// The reducers of a stage's replicas over links within this process: sums, their bits, gradients that come late and out of
// order, a replica that is lost, and stopping.
#include "tests/unit/cmocka_all.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/executor/reducer.h"
#include "coordinator/models/models.h"

enum { MOST = 4, BUCKET_BYTES = 20000 };

static void ignore(struct link *link, void *user)
{
}

static void ignore_loss(struct link *link, const struct error *error, void *user)
{
}

struct replica {
	struct stage_plan plan;
	struct link *previous, *next;
	struct reducer *reducer;
	uint64_t step;
	enum mailbox_status status;
};

struct fixture {
	uint32_t count;
	struct metrics *metrics;
	struct replica replica[MOST];
	uint32_t first, end; // parameters
};

static struct link *make_link(struct fixture *fixture, const struct stage_plan *plan, bool to_next)
{
	static const struct link_events events = {.ready = ignore, .lost = ignore_loss, .over = ignore};
	static const struct metric_family family = {"bytes", "Bytes.", METRIC_COUNTER, 1.0};
	struct metric *metric = metrics_series(fixture->metrics, &family, "");
	enum tensor_kind kind = TENSOR_GRADIENT_SUM;
	struct link_options options = {
		.local = true,
		.incoming = {.shape = {.rank = 1,
				       .dimensions = {(uint32_t)plan->ring.piece_floats},
				       .bytes = plan->ring.piece_floats * sizeof(float)},
			     .kind = to_next ? 0 : kind},
		.outgoing = to_next ? kind : 0,
		.send_depth = to_next ? RING_DEPTH : 0,
		.memory = &buffer_library_memory,
		.counters = {metric, metric, metric, metric},
		.events = &events,
	};
	struct link *link;
	struct error error;
	if (!link_create(&options, &link, &error))
		fail_msg("%s", error.message);
	return link;
}

// The beginning of AlexNet: a stage with two layers that have parameters.
static void make(struct fixture *fixture, uint32_t count)
{
	struct error error;
	*fixture = (struct fixture){.count = count, .metrics = metrics_create()};
	for (uint32_t r = 0; r < count; r++) {
		struct stage_plan *plan = &fixture->replica[r].plan;
		*plan = (struct stage_plan){
			.replica = r, .data_parallel_size = count, .first_layer = 0, .end_layer = 5};
		assert_true(models_create_chain("alexnet", 63, 10, -1.0f, &plan->model, &error));
		plan->ring = ring_make(1000, model_parameter_floats(&plan->model, plan->first_layer, plan->end_layer),
				       1000000, count, BUCKET_BYTES);
		fixture->replica[r].previous = make_link(fixture, plan, false);
		fixture->replica[r].next = make_link(fixture, plan, true);
		fixture->first = model_first_parameter(&plan->model, plan->first_layer);
		fixture->end = model_first_parameter(&plan->model, plan->end_layer);
	}
	for (uint32_t r = 0; r < count; r++) {
		struct replica *replica = &fixture->replica[r];
		assert_true(link_join(replica->next, fixture->replica[(r + 1) % count].previous, &error));
		assert_true(reducer_create(&replica->plan, replica->previous, replica->next, &buffer_library_memory,
					   &replica->reducer, &error));
	}
}

static void end(struct fixture *fixture)
{
	for (uint32_t r = 0; r < fixture->count; r++) {
		reducer_stop(fixture->replica[r].reducer);
		link_close(fixture->replica[r].previous, true);
		link_close(fixture->replica[r].next, true);
	}
	for (uint32_t r = 0; r < fixture->count; r++) {
		reducer_destroy(fixture->replica[r].reducer);
		link_unref(fixture->replica[r].previous);
		link_unref(fixture->replica[r].next);
	}
	metrics_destroy(fixture->metrics);
}

static float gradient_of(uint32_t replica, uint64_t step, uint32_t parameter, uint64_t index)
{
	return (float)((replica + 1) * 0.37 + (double)step * 1.1 + parameter * 0.013 + (double)(index % 101) * 1e-3);
}

static uint64_t count_of(const struct replica *replica, uint32_t parameter)
{
	struct parameter description;
	model_parameter(&replica->plan.model, parameter, &description);
	return description.count;
}

static void put(struct replica *replica, uint32_t parameter)
{
	float *values = reducer_place(replica->reducer, parameter);
	for (uint64_t i = 0; i < count_of(replica, parameter); i++)
		values[i] = gradient_of(replica->plan.replica, replica->step, parameter, i);
	reducer_put(replica->reducer, parameter);
}

// A replica's step: some put their gradients in the backward pass's order, some in the other.
static void *run_step(void *argument)
{
	struct replica *replica = argument;
	const struct stage_plan *plan = &replica->plan;
	uint32_t first = model_first_parameter(&plan->model, plan->first_layer);
	uint32_t end = model_first_parameter(&plan->model, plan->end_layer);
	enum neighbour side;
	reducer_begin(replica->reducer, replica->step);
	for (uint32_t i = 0; i < end - first; i++)
		put(replica, plan->replica % 2 == 0 ? end - 1 - i : first + i);
	replica->status = MAILBOX_OK;
	for (uint32_t i = end; i-- > first && replica->status == MAILBOX_OK;)
		replica->status = reducer_wait(replica->reducer, i, &side);
	return NULL;
}

static void run_all(struct fixture *fixture, uint64_t step)
{
	pthread_t threads[MOST];
	for (uint32_t r = 0; r < fixture->count; r++) {
		fixture->replica[r].step = step;
		assert_int_equal(pthread_create(&threads[r], NULL, run_step, &fixture->replica[r]), 0);
	}
	for (uint32_t r = 0; r < fixture->count; r++)
		pthread_join(threads[r], NULL);
}

static void check_sums(const struct fixture *fixture, uint64_t step)
{
	for (uint32_t p = fixture->first; p < fixture->end; p++) {
		const float *first = reducer_place(fixture->replica[0].reducer, p);
		uint64_t count = count_of(&fixture->replica[0], p);
		for (uint64_t i = 0; i < count; i++) {
			double sum = 0.0;
			for (uint32_t r = 0; r < fixture->count; r++)
				sum += gradient_of(r, step, p, i);
			assert_true(first[i] > sum * (1 - 1e-6) && first[i] < sum * (1 + 1e-6));
		}
		for (uint32_t r = 1; r < fixture->count; r++)
			assert_memory_equal(first, reducer_place(fixture->replica[r].reducer, p),
					    count * sizeof(float));
	}
}

static void reducer_wait_gives_the_sum_and_all_replicas_the_same_bits(void **state)
{
	for (uint32_t count = 2; count <= MOST; count++) {
		struct fixture fixture;
		make(&fixture, count);
		assert_true(fixture.replica[0].plan.ring.buckets > 10);
		for (uint64_t step = 0; step < 3; step++) {
			run_all(&fixture, step);
			for (uint32_t r = 0; r < count; r++)
				assert_int_equal(fixture.replica[r].status, MAILBOX_OK);
			check_sums(&fixture, step);
		}
		end(&fixture);
	}
}

static void reducer_wait_replica_is_gone_says_which(void **state)
{
	struct fixture fixture;
	enum neighbour side;
	make(&fixture, 3);
	run_all(&fixture, 0);
	link_close(fixture.replica[2].previous, false); // replica 2 ends
	link_close(fixture.replica[2].next, false);
	reducer_stop(fixture.replica[2].reducer);
	fixture.replica[0].step = fixture.replica[1].step = 1;
	run_step(&fixture.replica[0]);
	assert_int_equal(fixture.replica[0].status, MAILBOX_LOST);
	assert_int_equal(reducer_wait(fixture.replica[0].reducer, fixture.first, &side), MAILBOX_LOST);
	assert_int_equal(side, NEIGHBOUR_PREVIOUS_REPLICA);
	run_step(&fixture.replica[1]);
	assert_int_equal(fixture.replica[1].status, MAILBOX_LOST);
	assert_int_equal(reducer_wait(fixture.replica[1].reducer, fixture.first, &side), MAILBOX_LOST);
	assert_int_equal(side, NEIGHBOUR_NEXT_REPLICA);
	end(&fixture);
}

static void reducer_stop_ends_a_wait(void **state)
{
	struct fixture fixture;
	pthread_t thread;
	make(&fixture, 2);
	assert_int_equal(pthread_create(&thread, NULL, run_step, &fixture.replica[0]), 0); // alone
	reducer_stop(fixture.replica[0].reducer);
	pthread_join(thread, NULL);
	assert_int_equal(fixture.replica[0].status, MAILBOX_CLOSED);
	end(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reducer_wait_gives_the_sum_and_all_replicas_the_same_bits),
		cmocka_unit_test(reducer_wait_replica_is_gone_says_which),
		cmocka_unit_test(reducer_stop_ends_a_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
