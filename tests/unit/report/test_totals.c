// What steps add up to, with and without steps of warming up.
#include "tests/unit/cmocka_all.h"

#include <math.h>

#include "coordinator/report/totals.h"

#define MS UINT64_C(1000000)

static void assert_near(double value, double expected)
{
	if (!(fabs(value - expected) < 1e-9))
		fail_msg("%.12g is not %.12g", value, expected);
}

// Two ranks: one is busy for 60 of 100 ms, the other for 90.
static void add_step(struct totals *totals, uint64_t number, double seconds)
{
	const struct job_rank_step ranks[] = {{.phase_ns = {[PHASE_COPY] = 5 * MS,
							    [PHASE_FORWARD] = 15 * MS,
							    [PHASE_BACKWARD] = 30 * MS,
							    [PHASE_OPTIMIZER] = 10 * MS,
							    [PHASE_WAIT_PREVIOUS] = 1 * MS,
							    [PHASE_WAIT_NEXT] = 2 * MS,
							    [PHASE_WAIT_REPLICAS] = 3 * MS,
							    [PHASE_WAIT_COORDINATOR] = 4 * MS},
					       .sent_bytes = 7,
					       .received_bytes = 8},
					      {.phase_ns = {[PHASE_FORWARD] = 90 * MS}}};
	totals_step(totals, &(struct job_step){.step = number, .seconds = seconds, .ranks = ranks});
}

static struct totals make_totals(uint32_t warm_up_steps)
{
	struct totals totals;
	struct error error = {0};
	if (!totals_init(2, 64, warm_up_steps, &totals, &error))
		fail_msg("%s", error.message);
	return totals;
}

static void step_of_warming_up_counts_as_done_and_nothing_else(void **state)
{
	struct totals totals = make_totals(2);
	add_step(&totals, 0, 5.0);
	add_step(&totals, 1, 3.0);
	assert_int_equal(totals.steps_done, 2);
	assert_near(totals.all_seconds, 8.0);
	assert_int_equal(totals.measured_steps, 0);
	assert_near(totals_throughput(&totals), 0.0);
	assert_near(totals_bubble(&totals, 0), 0.0);
	assert_near(totals_busy(&totals, 0), 0.0);
	add_step(&totals, 2, 0.1);
	add_step(&totals, 3, 0.1);
	assert_int_equal(totals.steps_done, 4);
	assert_int_equal(totals.measured_steps, 2);
	assert_near(totals_throughput(&totals), 640.0);
	totals_fini(&totals);
}

static void totals_of_two_ranks_are_kept_apart(void **state)
{
	struct totals totals = make_totals(0);
	add_step(&totals, 0, 0.1);
	add_step(&totals, 1, 0.1);
	assert_near(totals_busy(&totals, 0), 0.12);
	assert_near(totals_busy(&totals, 1), 0.18);
	assert_near(totals_bubble(&totals, 0), 0.4);
	assert_near(totals_bubble(&totals, 1), 0.1);
	assert_near(totals.rank[0].seconds[PHASE_WAIT_PREVIOUS], 0.002);
	assert_near(totals.rank[0].seconds[PHASE_WAIT_NEXT], 0.004);
	assert_near(totals.rank[0].seconds[PHASE_WAIT_REPLICAS], 0.006);
	assert_near(totals.rank[0].seconds[PHASE_WAIT_COORDINATOR], 0.008);
	assert_int_equal(totals.rank[0].sent_bytes, 14);
	assert_int_equal(totals.rank[0].received_bytes, 16);
	totals_fini(&totals);
}

static void bubble_of_a_rank_that_was_ahead_is_not_negative(void **state)
{
	struct totals totals = make_totals(0);
	add_step(&totals, 0, 0.05); // it had begun before the step before was over elsewhere
	assert_near(totals_bubble(&totals, 1), 0.0);
	totals_fini(&totals);
}

static void memory_is_the_sum_of_its_kinds(void **state)
{
	struct totals totals = make_totals(0);
	totals_memory(&totals, 1, &(struct stage_memory){1, 20, 300, 4000, 50000, 600000});
	assert_int_equal(totals_memory_bytes(&totals, 1), 654321);
	assert_int_equal(totals_memory_bytes(&totals, 0), 0);
	totals_fini(&totals);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(step_of_warming_up_counts_as_done_and_nothing_else),
		cmocka_unit_test(totals_of_two_ranks_are_kept_apart),
		cmocka_unit_test(bubble_of_a_rank_that_was_ahead_is_not_negative),
		cmocka_unit_test(memory_is_the_sum_of_its_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
