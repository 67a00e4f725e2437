// Rates are differences by the daemon's own clock, between ends of steps.
#include "tests/unit/cmocka_all.h"

#include <math.h>

#include "coordinator/view/rates.h"
#include "tests/unit/view/answers.h"

static void assert_near(double value, double expected)
{
	if (!(fabs(value - expected) < 1e-9))
		fail_msg("%.12g is not %.12g", value, expected);
}

static const struct rates_stage *update(struct rates *rates, const struct answer *answer)
{
	uint32_t count;
	assert_true(rates_update(rates, 0, "a:1", &answer->response));
	const struct rates_stage *stages = rates_stages(rates, 0, &count);
	assert_int_equal(count, 1);
	return stages;
}

static void rates_update_first_answer_is_the_mean_of_all_steps(void **state)
{
	struct rates *rates = rates_create(1);
	struct answer answer;
	answer_init(&answer);
	answer_steps(&answer, 4, 18);
	const struct rates_stage *stage = update(rates, &answer);
	assert_true(stage->known);
	assert_near(stage->samples_per_second, 50);
	assert_near(stage->share[PHASE_FORWARD], 0.5);
	assert_near(stage->share[PHASE_WAIT_NEXT], 0.25);
	assert_near(stage->share[PHASE_COPY], 0);
	assert_near(stage->seconds_since_step, 2);
	assert_true(stage->links[RATES_NEXT].exists);
	assert_false(stage->links[RATES_NEXT].known);
	assert_false(stage->links[RATES_PREVIOUS].exists);
	assert_string_equal(stage->device, "cpu");
	assert_int_equal(stage->limit_bytes, 1 << 30);
	rates_destroy(rates);
}

static void rates_update_second_answer_is_of_the_steps_between(void **state)
{
	struct rates *rates = rates_create(1);
	struct answer answer;
	answer_init(&answer);
	answer_steps(&answer, 4, 18);
	update(rates, &answer);
	// One step more, of 2 seconds, all of them backward; asked 4 seconds later.
	answer.response.clock_ns += 4 * SECOND;
	answer.counters.steps++;
	answer.counters.samples += 30;
	answer.counters.counted_ns += 2 * SECOND;
	answer.counters.phase_ns[PHASE_BACKWARD] += 2 * SECOND;
	answer.next.sent_bytes += 4000;
	answer.next.received_bytes += 8000;
	const struct rates_stage *stage = update(rates, &answer);
	assert_near(stage->samples_per_second, 15);
	assert_near(stage->share[PHASE_FORWARD], 0);
	assert_near(stage->share[PHASE_BACKWARD], 1);
	assert_near(stage->seconds_since_step, 4);
	assert_true(stage->links[RATES_NEXT].known);
	assert_near(stage->links[RATES_NEXT].sent, 1000);
	assert_near(stage->links[RATES_NEXT].received, 2000);
	rates_destroy(rates);
}

static void rates_update_without_a_step_between_keeps_what_is_known(void **state)
{
	struct rates *rates = rates_create(1);
	struct answer answer;
	answer_init(&answer);
	answer_steps(&answer, 4, 18);
	update(rates, &answer);
	for (int i = 0; i < 3; i++) {
		answer.response.clock_ns += 2 * SECOND;
		const struct rates_stage *stage = update(rates, &answer);
		assert_true(stage->known);
		assert_near(stage->samples_per_second, 50);
		assert_near(stage->share[PHASE_BACKWARD], 0.25);
		assert_near(stage->seconds_since_step, 4 + 2 * i);
		assert_near(stage->links[RATES_NEXT].sent, 0);
	}
	// The step that ends then is held against the last one that had ended, not against the last answer.
	answer_steps(&answer, 5, 26);
	assert_near(update(rates, &answer)->samples_per_second, 100.0 / 8);
	rates_destroy(rates);
}

static void rates_update_no_step_yet_is_unknown(void **state)
{
	struct rates *rates = rates_create(1);
	struct answer answer;
	answer_init(&answer);
	assert_false(update(rates, &answer)->known);
	answer.stage.counters = NULL; // a daemon of an older release says nothing of that
	assert_false(update(rates, &answer)->known);
	rates_destroy(rates);
}

static void rates_update_another_session_of_the_same_name_begins_anew(void **state)
{
	struct rates *rates = rates_create(1);
	struct answer answer;
	answer_init(&answer);
	answer_steps(&answer, 1000, 18);
	update(rates, &answer);
	answer_steps(&answer, 1, 20);
	answer.stage.began_ns = 19 * SECOND;
	answer.counters.phase_ns[PHASE_FORWARD] = answer.counters.phase_ns[PHASE_BACKWARD] = 0;
	answer.counters.phase_ns[PHASE_WAIT_NEXT] = SECOND;
	answer.response.clock_ns = 21 * SECOND;
	const struct rates_stage *stage = update(rates, &answer);
	assert_near(stage->samples_per_second, 100);
	assert_near(stage->share[PHASE_WAIT_NEXT], 1);
	assert_false(stage->links[RATES_NEXT].known);
	rates_destroy(rates);
}

static void rates_update_no_answer_forgets(void **state)
{
	struct rates *rates = rates_create(2);
	struct answer answer;
	uint32_t count;
	answer_init(&answer);
	update(rates, &answer);
	assert_true(rates_update(rates, 0, "a:1", NULL));
	rates_stages(rates, 0, &count);
	assert_int_equal(count, 0);
	rates_stages(rates, 1, &count);
	assert_int_equal(count, 0);
	assert_int_equal(rates_nodes(rates), 2);
	rates_destroy(rates);
}

// Whatever a daemon says: counters that fall, a clock that goes back, a device that is none.
static void rates_update_nonsense_is_no_rate(void **state)
{
	struct rates *rates = rates_create(1);
	struct answer answer;
	answer_init(&answer);
	answer_steps(&answer, 1000, 18);
	answer.next.sent_bytes = UINT64_MAX;
	update(rates, &answer);
	answer.counters = (struct stage_counters){0};
	answer.counters.steps = 1;
	answer.counters.phase_ns[PHASE_FORWARD] = UINT64_MAX;
	answer.counters.phase_ns[PHASE_WAIT_NEXT] = UINT64_MAX;
	answer.counters.counted_ns = UINT64_MAX;
	answer.response.clock_ns = 0;
	answer.stage.device_index = UINT32_MAX;
	const struct rates_stage *stage = update(rates, &answer);
	assert_true(isfinite(stage->share[PHASE_FORWARD]));
	assert_near(stage->samples_per_second, 0);
	assert_near(stage->seconds_since_step, 0);
	assert_string_equal(stage->device, "");
	assert_int_equal(stage->limit_bytes, 0);
	rates_destroy(rates);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates_update_first_answer_is_the_mean_of_all_steps),
		cmocka_unit_test(rates_update_second_answer_is_of_the_steps_between),
		cmocka_unit_test(rates_update_without_a_step_between_keeps_what_is_known),
		cmocka_unit_test(rates_update_no_step_yet_is_unknown),
		cmocka_unit_test(rates_update_another_session_of_the_same_name_begins_anew),
		cmocka_unit_test(rates_update_no_answer_forgets),
		cmocka_unit_test(rates_update_nonsense_is_no_rate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
