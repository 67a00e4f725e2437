// The whole course of a schedule: what leaves the range of its setting is refused with its first step, which a plain walk over all steps
// finds as well.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/random.h"
#include "coordinator/config/learning_rate_course.h"

static const double base_lr = 0.1, base_momentum = 0.9;

// The first wrong step, from 1; 0: none.
static uint64_t walk(const struct learning_rate_schedule *schedule, uint64_t steps)
{
	for (uint64_t step = 0; step < steps; step++) {
		struct learning_rate_value value = learning_rate_at(schedule, step, base_lr, base_momentum);
		float rate = (float)value.learning_rate, momentum = (float)value.momentum;
		if (!(rate >= 0 && isfinite(rate)) || (schedule->cycle_momentum && !(momentum >= 0 && momentum < 1)))
			return step + 1;
	}
	return 0;
}

static void assert_course(const struct learning_rate_schedule *schedule, uint64_t steps)
{
	struct error error = {0};
	char expected[64];
	uint64_t wrong = walk(schedule, steps);
	snprintf(expected, sizeof(expected), "at step %" PRIu64 " of %" PRIu64 " ", wrong, steps);
	bool ok = learning_rate_check_course(schedule, base_lr, base_momentum, steps, &error);
	if (ok != (wrong == 0) || (!ok && strstr(error.message, expected) == NULL))
		fail_msg("%s: first wrong step %d, checked: %s", learning_rate_name(schedule->kind), (int)wrong,
			 ok ? "right" : error.message);
	if (!ok)
		assert_int_equal(error.code, ERROR_USAGE);
}

#define CYCLE                                                                                                          \
	.kind = LEARNING_RATE_ONE_CYCLE, .cycle_min_lr = 0.01, .cycle_max_lr = 0.2, .cycle_first_step_size = 5,        \
	.cycle_second_step_size = 5, .cycle_momentum = true, .cycle_min_mom = 0.8

static void check_course_refuses_a_beta_of_one(void **state)
{
	static const struct {
		struct learning_rate_schedule schedule;
		uint64_t steps;
		const char *expected; // NULL: right
	} cases[] = {
		{{CYCLE, .cycle_max_mom = 0.9}, 1000000000, NULL},
		{{CYCLE, .cycle_max_mom = 1.0},
		 100,
		 "OneCycle: at step 11 of 100 the first beta of the optimizer is 1"},
		{{CYCLE, .cycle_max_mom = 1.0}, 10, NULL}, // it ends before
		{{CYCLE, .cycle_max_mom = 0.99999999},
		 11,
		 "at step 11 of 11 the first beta of the optimizer is 0.99999999, as a float 1;"},
		{{CYCLE, .cycle_max_mom = 0.8, .decay_step_size = 1, .decay_mom_rate = 0.25},
		 1000000000,
		 "at step 12 of 1000000000 the first beta of the optimizer is 1,"},
		{{CYCLE, .cycle_max_mom = 0.8, .decay_step_size = 0, .decay_mom_rate = 0.25}, 1000000000, NULL},
		{{CYCLE, .cycle_max_mom = 0.8, .decay_step_size = 1000, .decay_mom_rate = 0.25},
		 1000000000,
		 "at step 1011 of 1000000000 "},
		{{.kind = LEARNING_RATE_RANGE_TEST,
		  .range_test_min_lr = 1,
		  .range_test_step_size = 1,
		  .range_test_step_rate = 1e30},
		 1000000000,
		 "LRRangeTest: at step 340282358 of 1000000000 the learning rate is 3.40282"},
		{{.kind = LEARNING_RATE_WARMUP_COSINE,
		  .warmup_max_lr = 1e30,
		  .warmup_num_steps = 4,
		  .total_num_steps = 8,
		  .cos_min_ratio = 1e30},
		 100,
		 "WarmupCosineLR: at step 6 of 100 the learning rate is"},
		{{.kind = LEARNING_RATE_CONSTANT}, UINT64_MAX, NULL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error error = {0};
		bool ok =
			learning_rate_check_course(&cases[i].schedule, base_lr, base_momentum, cases[i].steps, &error);
		if (ok != (cases[i].expected == NULL) || (!ok && strstr(error.message, cases[i].expected) == NULL))
			fail_msg("case %zu: %s", i, ok ? "right" : error.message);
	}
}

// Draws in a row.
struct draws {
	struct random_key key;
	uint64_t count;
};

static uint32_t draw_below(struct draws *draws, uint32_t bound)
{
	return random_below(draws->key, draws->count++, bound);
}

static double draw(struct draws *draws, double lowest, double highest)
{
	return lowest + (highest - lowest) * (draw_below(draws, 1u << 30) / 1073741824.0);
}

static void check_course_finds_what_a_walk_finds(void **state)
{
	struct draws draws = {.key = random_key_make(1, RANDOM_SHUFFLE, 0)};
	for (int i = 0; i < 20000; i++) {
		uint32_t first = 1 + draw_below(&draws, 9), second = draw_below(&draws, 9);
		double huge = draw_below(&draws, 2) == 0 ? 1 : 3e38;
		struct learning_rate_schedule schedule = {
			.kind = (enum learning_rate_kind)draw_below(&draws, LEARNING_RATE_KINDS),
			.warmup_min_lr = draw(&draws, 0, huge),
			.warmup_max_lr = draw(&draws, 0, huge),
			.warmup_min_ratio = draw(&draws, 0, 3),
			.cos_min_ratio = draw(&draws, 0, 3),
			.warmup_num_steps = first,
			.warmup_linear = draw_below(&draws, 2) == 0,
			.total_num_steps = second + 1,
			.range_test_min_lr = draw(&draws, 0, huge),
			.range_test_step_rate = draw(&draws, 0, 2),
			.range_test_step_size = first,
			.range_test_staircase = draw_below(&draws, 2) == 0,
			.cycle_min_lr = draw(&draws, 0, huge),
			.cycle_max_lr = draw(&draws, 0, huge),
			.decay_lr_rate = draw(&draws, 0, 1),
			.cycle_first_step_size = first,
			.cycle_second_step_size = second,
			.cycle_first_stair_count = draw_below(&draws, 4),
			.cycle_second_stair_count = draw_below(&draws, 4),
			.decay_step_size = draw_below(&draws, 4),
			.cycle_min_mom = draw(&draws, 0, 1),
			.cycle_max_mom = draw_below(&draws, 3) == 0 ? 1.0 : draw(&draws, 0, 1),
			.decay_mom_rate = draw(&draws, 0, 0.1),
		};
		schedule.cycle_momentum = schedule.kind == LEARNING_RATE_ONE_CYCLE && draw_below(&draws, 4) != 0;
		assert_course(&schedule, 1 + draw_below(&draws, 60));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_course_refuses_a_beta_of_one),
		cmocka_unit_test(check_course_finds_what_a_walk_finds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
