// The simulated step against the closed formulas, and what follows from stages that are not equal.
#include "tests/unit/cmocka_all.h"

#include <math.h>

#include "coordinator/plan/simulate.h"

static struct simulate_result run(const char *name, uint32_t p, uint32_t m, uint32_t in_flight,
				  const struct simulate_stage *stages)
{
	struct schedule *schedule = NULL;
	struct simulate_result result;
	struct error error = {0};
	if (!schedule_create(name, p, m, in_flight, &schedule, &error) || !simulate(schedule, stages, &result, &error))
		fail_msg("%s", error.message);
	schedule_destroy(schedule);
	return result;
}

static void equal(struct simulate_stage *stages, uint32_t p, double forward, double backward)
{
	for (uint32_t s = 0; s < p; s++)
		stages[s] = (struct simulate_stage){forward, backward};
}

static void simulate_of_equal_stages_has_the_bubble_of_the_formula(void **state)
{
	static const char *const names[] = {"gpipe", "1f1b"};
	struct simulate_stage stages[8];
	equal(stages, 8, 1, 2);
	for (int n = 0; n < 2; n++)
		for (uint32_t p = 1; p <= 8; p++)
			for (uint32_t m = 1; m <= 17; m += 4) {
				struct simulate_result r = run(names[n], p, m, 0, stages);
				assert_true(fabs(r.step - 3.0 * (m + p - 1)) < 1e-9);
				assert_true(fabs(r.bubble - (p - 1.0) / (m + p - 1.0)) < 1e-9);
				for (uint32_t s = 0; s < p; s++) {
					assert_true(fabs(r.busy[s] - 3.0 * m) < 1e-9);
					assert_true(fabs(r.busy[s] + r.waiting[s] - r.step) < 1e-9);
				}
			}
}

// While the first micro-batch comes to the slowest stage, and the last one leaves it, the others work or wait; in between it never does.
static void simulate_of_unequal_stages_is_bound_by_the_slowest(void **state)
{
	static const char *const names[] = {"gpipe", "1f1b"};
	for (int n = 0; n < 2; n++)
		for (uint32_t slow = 0; slow < 4; slow++) {
			struct simulate_stage stages[4];
			equal(stages, 4, 1, 2);
			stages[slow] = (struct simulate_stage){10, 20};
			struct simulate_result r = run(names[n], 4, 32, 0, stages);
			double around = 0;
			for (uint32_t s = 0; s < slow; s++)
				around += stages[s].forward + stages[s].backward;
			assert_true(r.step >= 32 * 30.0 + around - 1e-9);
			assert_true(r.step <= 32 * 30.0 + 3 * 3.0 + 1e-9);
			assert_true(r.waiting[slow] <= 3 * 3.0 + 1e-9);
		}
}

// One in flight: each micro-batch goes all the way and back before the next begins.
static void simulate_of_one_in_flight_is_as_slow_as_one_device(void **state)
{
	struct simulate_stage stages[4] = {{1, 2}, {3, 5}, {2, 4}, {1, 1}};
	assert_true(fabs(run("1f1b", 4, 6, 1, stages).step - 6 * 19.0) < 1e-9);
}

static void simulate_of_fewer_in_flight_is_never_faster(void **state)
{
	struct simulate_stage stages[6];
	equal(stages, 6, 1, 2);
	double before = INFINITY;
	for (uint32_t most = 1; most <= 6; most++) {
		double step = run("1f1b", 6, 24, most, stages).step;
		assert_true(step <= before + 1e-9);
		before = step;
	}
	assert_true(fabs(before - 3.0 * (24 + 5)) < 1e-9);
}

// Worked out by hand: F0 F1 on stage 0 end at 1 and 2, stage 1 ends B0 at 1 + 3 + 4 = 8 and B1 at 15, stage 0 its B1 at 17.
static void simulate_of_a_small_step_is_what_it_is_on_paper(void **state)
{
	struct simulate_stage stages[2] = {{1, 2}, {3, 4}};
	struct simulate_result r = run("1f1b", 2, 2, 0, stages);
	assert_true(fabs(r.step - 17) < 1e-9);
	assert_true(fabs(r.waiting[0] - 11) < 1e-9);
	assert_true(fabs(r.waiting[1] - 3) < 1e-9);
	assert_true(fabs(r.bubble - (11 + 3) / 34.0) < 1e-9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(simulate_of_equal_stages_has_the_bubble_of_the_formula),
		cmocka_unit_test(simulate_of_unequal_stages_is_bound_by_the_slowest),
		cmocka_unit_test(simulate_of_one_in_flight_is_as_slow_as_one_device),
		cmocka_unit_test(simulate_of_fewer_in_flight_is_never_faster),
		cmocka_unit_test(simulate_of_a_small_step_is_what_it_is_on_paper),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
