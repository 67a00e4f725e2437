// The learning-rate schedules against values that DeepSpeed's own classes gave
// (tests/golden/learning_rates.py).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "coordinator/config/learning_rate.h"
#include "tests/unit/config/learning_rate_tables.h"

// What the optimizer of the tables was made with.
static const double base_lr = 0.25, base_momentum = 0.85;

static void assert_table(const char *name, const struct learning_rate_schedule *schedule,
			 const double table[TABLE_STEPS][2])
{
	for (uint64_t step = 0; step < TABLE_STEPS; step++) {
		struct learning_rate_value value = learning_rate_at(schedule, step, base_lr, base_momentum);
		if (fabs(value.learning_rate - table[step][0]) > 1e-14 || fabs(value.momentum - table[step][1]) > 1e-14)
			fail_msg("%s, step %d: learning rate %.17g, momentum %.17g; DeepSpeed has %.17g and %.17g",
				 name, (int)step, value.learning_rate, value.momentum, table[step][0], table[step][1]);
	}
}

#define CHECK(table, ...) assert_table(#table, &(struct learning_rate_schedule){__VA_ARGS__}, table)

static void learning_rate_at_warmup_is_deepspeeds(void **state)
{
	CHECK(warmup_log, .kind = LEARNING_RATE_WARMUP, .warmup_max_lr = 0.1, .warmup_num_steps = 10);
	CHECK(warmup_linear, .kind = LEARNING_RATE_WARMUP, .warmup_min_lr = 0.001, .warmup_max_lr = 0.02,
	      .warmup_num_steps = 7, .warmup_linear = true);
	CHECK(warmup_one_step, .kind = LEARNING_RATE_WARMUP, .warmup_max_lr = 0.5, .warmup_num_steps = 1);
	CHECK(warmup_linear_one_step, .kind = LEARNING_RATE_WARMUP, .warmup_min_lr = 0.1, .warmup_max_lr = 0.5,
	      .warmup_num_steps = 1, .warmup_linear = true);
	CHECK(warmup_two_steps, .kind = LEARNING_RATE_WARMUP, .warmup_max_lr = 0.5, .warmup_num_steps = 2);
	CHECK(warmup_falling, .kind = LEARNING_RATE_WARMUP, .warmup_min_lr = 0.5, .warmup_max_lr = 0.1,
	      .warmup_num_steps = 6);
	CHECK(warmup_of_optimizer, .kind = LEARNING_RATE_WARMUP, .warmup_max_lr = base_lr, .warmup_num_steps = 6);
}

static void learning_rate_at_warmup_decay_is_deepspeeds(void **state)
{
	CHECK(warmup_decay_log, .kind = LEARNING_RATE_WARMUP_DECAY, .total_num_steps = 20, .warmup_max_lr = 0.3,
	      .warmup_num_steps = 5);
	CHECK(warmup_decay_linear, .kind = LEARNING_RATE_WARMUP_DECAY, .total_num_steps = 12, .warmup_min_lr = 0.01,
	      .warmup_max_lr = 0.3, .warmup_num_steps = 4, .warmup_linear = true);
	CHECK(warmup_decay_short, .kind = LEARNING_RATE_WARMUP_DECAY, .total_num_steps = 3, .warmup_max_lr = 0.3,
	      .warmup_num_steps = 8);
	CHECK(warmup_decay_at_total, .kind = LEARNING_RATE_WARMUP_DECAY, .total_num_steps = 8, .warmup_max_lr = 0.3,
	      .warmup_num_steps = 8);
	CHECK(warmup_decay_one_step, .kind = LEARNING_RATE_WARMUP_DECAY, .total_num_steps = 1, .warmup_max_lr = 0.3,
	      .warmup_num_steps = 1, .warmup_linear = true);
}

#define COSINE(...) .kind = LEARNING_RATE_WARMUP_COSINE, .warmup_max_lr = base_lr, __VA_ARGS__

static void learning_rate_at_warmup_cosine_is_deepspeeds(void **state)
{
	CHECK(warmup_cosine_log, COSINE(.total_num_steps = 20, .warmup_num_steps = 5, .cos_min_ratio = 0.0001));
	CHECK(warmup_cosine_linear, COSINE(.total_num_steps = 15, .warmup_num_steps = 4, .warmup_min_ratio = 0.1,
					   .cos_min_ratio = 0.25, .warmup_linear = true));
	CHECK(warmup_cosine_short, COSINE(.total_num_steps = 3, .warmup_num_steps = 8, .cos_min_ratio = 0.0001));
	CHECK(warmup_cosine_at_total, COSINE(.total_num_steps = 8, .warmup_num_steps = 8, .cos_min_ratio = 0.5));
	CHECK(warmup_cosine_one_step, COSINE(.total_num_steps = 12, .warmup_num_steps = 1, .cos_min_ratio = 0.0001));
	CHECK(warmup_cosine_rising,
	      COSINE(.total_num_steps = 12, .warmup_num_steps = 3, .warmup_min_ratio = 2.0, .cos_min_ratio = 1.5));
}

#define RANGE_TEST(...) .kind = LEARNING_RATE_RANGE_TEST, .range_test_min_lr = 0.01, __VA_ARGS__

static void learning_rate_at_range_test_is_deepspeeds(void **state)
{
	CHECK(range_test, RANGE_TEST(.range_test_step_size = 4, .range_test_step_rate = 1.0));
	CHECK(range_test_defaults, .kind = LEARNING_RATE_RANGE_TEST, .range_test_min_lr = 1e-3,
	      .range_test_step_size = 2000, .range_test_step_rate = 1.0);
	CHECK(range_test_stairs,
	      RANGE_TEST(.range_test_step_size = 7, .range_test_step_rate = 0.5, .range_test_staircase = true));
	CHECK(range_test_one_step, RANGE_TEST(.range_test_step_size = 1, .range_test_step_rate = 5.0));
	CHECK(range_test_flat, RANGE_TEST(.range_test_step_size = 2000));
}

#define MOMENTA .cycle_momentum = true, .cycle_min_mom = 0.8, .cycle_max_mom = 0.9

static void learning_rate_at_one_cycle_is_deepspeeds(void **state)
{
	CHECK(one_cycle, .kind = LEARNING_RATE_ONE_CYCLE, .cycle_min_lr = 0.001, .cycle_max_lr = 0.1,
	      .cycle_first_step_size = 5, .cycle_second_step_size = 5, MOMENTA);
	CHECK(one_cycle_decay, .kind = LEARNING_RATE_ONE_CYCLE, .cycle_min_lr = 0.01, .cycle_max_lr = 0.2,
	      .decay_lr_rate = 0.5, .cycle_first_step_size = 4, .cycle_second_step_size = 7, .decay_step_size = 3,
	      .cycle_momentum = true, .cycle_min_mom = 0.7, .cycle_max_mom = 0.95, .decay_mom_rate = 0.01);
	CHECK(one_cycle_stairs, .kind = LEARNING_RATE_ONE_CYCLE, .cycle_min_lr = 0.01, .cycle_max_lr = 0.2,
	      .cycle_first_step_size = 6, .cycle_second_step_size = 9, .cycle_first_stair_count = 3,
	      .cycle_second_stair_count = 2, MOMENTA);
	CHECK(one_cycle_half_stairs, .kind = LEARNING_RATE_ONE_CYCLE, .cycle_min_lr = 0.01, .cycle_max_lr = 0.2,
	      .cycle_first_step_size = 6, .cycle_first_stair_count = 2, .cycle_second_step_size = 6, MOMENTA);
	CHECK(one_cycle_no_momentum, .kind = LEARNING_RATE_ONE_CYCLE, .cycle_min_lr = 0.001, .cycle_max_lr = 0.1,
	      .cycle_first_step_size = 3, .cycle_second_step_size = 3);
	CHECK(one_cycle_sgd, .kind = LEARNING_RATE_ONE_CYCLE, .cycle_min_lr = 0.001, .cycle_max_lr = 0.1,
	      .cycle_first_step_size = 3, .cycle_second_step_size = 3);
}

static void learning_rate_at_one_cycle_edges_are_deepspeeds(void **state)
{
#define CYCLE .kind = LEARNING_RATE_ONE_CYCLE, .cycle_min_lr = 0.01, .cycle_max_lr = 0.2
	CHECK(one_cycle_no_second_half, CYCLE, .cycle_first_step_size = 4, .decay_step_size = 2, .decay_lr_rate = 1.0,
	      MOMENTA);
	CHECK(one_cycle_shortest, CYCLE, .cycle_first_step_size = 1, .cycle_second_step_size = 1, .decay_step_size = 1,
	      .decay_lr_rate = 0.25, .decay_mom_rate = 0.001, MOMENTA);
	CHECK(one_cycle_decay_without_rate, CYCLE, .cycle_first_step_size = 3, .cycle_second_step_size = 3,
	      .decay_step_size = 2, MOMENTA);
	CHECK(one_cycle_falling, .kind = LEARNING_RATE_ONE_CYCLE, .cycle_min_lr = 0.2, .cycle_max_lr = 0.01,
	      .cycle_first_step_size = 5, .cycle_second_step_size = 5, .cycle_momentum = true, .cycle_min_mom = 0.9,
	      .cycle_max_mom = 0.8);
#undef CYCLE
}

static void learning_rate_at_constant_is_the_base(void **state)
{
	struct learning_rate_schedule schedule = {.kind = LEARNING_RATE_CONSTANT};
	struct learning_rate_value value = learning_rate_at(&schedule, UINT64_MAX, base_lr, base_momentum);
	assert_true(value.learning_rate == base_lr && value.momentum == base_momentum);
}

static void learning_rate_at_far_step_is_finite(void **state)
{
	struct learning_rate_schedule schedule = {.kind = LEARNING_RATE_ONE_CYCLE,
						  .cycle_min_lr = 0.001,
						  .cycle_max_lr = 0.1,
						  .cycle_first_stair_count = 3};
	for (int kind = LEARNING_RATE_WARMUP; kind < LEARNING_RATE_KINDS; kind++) {
		schedule.kind = (enum learning_rate_kind)kind;
		for (uint64_t step = 1; step != 0; step <<= 1)
			assert_true(isfinite(learning_rate_at(&schedule, step, 0.1, 0.9).learning_rate));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(learning_rate_at_warmup_is_deepspeeds),
		cmocka_unit_test(learning_rate_at_warmup_decay_is_deepspeeds),
		cmocka_unit_test(learning_rate_at_warmup_cosine_is_deepspeeds),
		cmocka_unit_test(learning_rate_at_range_test_is_deepspeeds),
		cmocka_unit_test(learning_rate_at_one_cycle_is_deepspeeds),
		cmocka_unit_test(learning_rate_at_one_cycle_edges_are_deepspeeds),
		cmocka_unit_test(learning_rate_at_constant_is_the_base),
		cmocka_unit_test(learning_rate_at_far_step_is_finite),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
