// The loss scale, step by step, beside DeepSpeed's own class; a fixed scale; and a scale that cannot fall.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "coordinator/run/loss_scaler.h"
#include "tests/unit/run/loss_scale_tables.h"

static void update_is_deepspeeds_step_by_step(void **state)
{
	for (size_t i = 0; i < sizeof(loss_scale_cases) / sizeof(loss_scale_cases[0]); i++) {
		const struct loss_scale_case *c = &loss_scale_cases[i];
		struct loss_scaler scaler;
		loss_scaler_init(&scaler, &c->settings);
		assert_true(scaler.scale == c->settings.scale);
		uint64_t skipped = 0;
		for (size_t step = 0; c->overflows[step] != '\0'; step++) {
			bool overflow = c->overflows[step] == 'x';
			skipped += overflow;
			loss_scaler_update(&scaler, overflow);
			if (scaler.scale != c->after[step].scale || scaler.stuck != c->after[step].stuck)
				fail_msg("%s, after step %zu: scale %g, stuck %u; expected %g, %u", c->name, step,
					 scaler.scale, scaler.stuck, c->after[step].scale, c->after[step].stuck);
		}
		assert_int_equal(scaler.steps, strlen(c->overflows));
		assert_int_equal(scaler.skipped, skipped);
	}
}

// DeepSpeed's defaults, worked out by hand: the first overflow uses the hysteresis up, the second halves, and the scale
// doubles in the step behind 1000 without an overflow.
static void update_default_window_doubles_after_a_thousand_steps(void **state)
{
	const struct loss_scaling settings = {true, 65536, 1, 1000, 2, false};
	struct loss_scaler scaler;
	loss_scaler_init(&scaler, &settings);
	loss_scaler_update(&scaler, true);
	assert_true(scaler.scale == 65536);
	loss_scaler_update(&scaler, true);
	assert_true(scaler.scale == 32768);
	for (int i = 0; i < 1000; i++)
		loss_scaler_update(&scaler, false);
	assert_true(scaler.scale == 32768);
	loss_scaler_update(&scaler, false);
	assert_true(scaler.scale == 65536);
	assert_int_equal(scaler.hysteresis, 2);
}

static void update_fixed_scale_never_moves(void **state)
{
	const struct loss_scaling settings = {.dynamic = false, .scale = 128, .window = 1, .hysteresis = 1};
	struct loss_scaler scaler;
	loss_scaler_init(&scaler, &settings);
	for (uint32_t i = 0; i < LOSS_SCALER_PATIENCE; i++) {
		loss_scaler_update(&scaler, true);
		assert_true(scaler.scale == 128);
		assert_int_equal(scaler.stuck, i + 1); // each of them is one that it cannot answer
	}
	for (int i = 0; i < 10; i++)
		loss_scaler_update(&scaler, false);
	assert_true(scaler.scale == 128);
	assert_int_equal(scaler.stuck, 0);
	assert_int_equal(scaler.skipped, LOSS_SCALER_PATIENCE);
}

static void update_scale_stays_a_float_with_a_reciprocal(void **state)
{
	const struct loss_scaling settings = {true, 0x1p64, 1, 1, 1, false};
	struct loss_scaler scaler;
	loss_scaler_init(&scaler, &settings);
	for (int i = 0; i < 1000; i++)
		loss_scaler_update(&scaler, false);
	assert_true(scaler.scale == 0x1p126);
	// A scale that no float is, is rounded at once: the stages get a float.
	loss_scaler_init(&scaler, &(struct loss_scaling){.scale = 0.1});
	assert_true(scaler.scale == (double)0.1f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(update_is_deepspeeds_step_by_step),
		cmocka_unit_test(update_default_window_doubles_after_a_thousand_steps),
		cmocka_unit_test(update_fixed_scale_never_moves),
		cmocka_unit_test(update_scale_stays_a_float_with_a_reciprocal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
