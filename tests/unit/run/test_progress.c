// How long a job may stand still, and which rank holds it up.
#include "tests/unit/cmocka_all.h"

#include "coordinator/run/progress.h"

#define MS UINT64_C(1000000)

static void progress_limit_is_the_floor_until_steps_have_taken_longer(void **state)
{
	struct progress progress = {.floor_ms = 600000};
	assert_int_equal(progress_limit_ms(&progress, false), 600000);
	assert_int_equal(progress_limit_ms(&progress, true), 1800000);
	progress_note(&progress, 1000 * MS, true); // the first has none before it
	progress_note(&progress, 2000 * MS, true);
	assert_int_equal(progress_limit_ms(&progress, false), 600000);
	progress_note(&progress, 92000 * MS, true);
	assert_int_equal(progress_limit_ms(&progress, false), 900000);
	progress_note(&progress, 93000 * MS, true); // the longest counts
	assert_int_equal(progress_limit_ms(&progress, false), 900000);
	assert_int_equal(progress_limit_ms(&progress, true), 1800000);
}

static void progress_note_outside_steps_is_not_measured(void **state)
{
	struct progress progress = {.floor_ms = 1000};
	progress_note(&progress, 1000 * MS, false);
	progress_note(&progress, 500000 * MS, false); // opening took minutes
	assert_int_equal(progress_limit_ms(&progress, false), 1000);
	assert_int_equal(progress.last_ns, 500000 * MS);
	progress_note(&progress, 400000 * MS, true); // older than what is known
	assert_int_equal(progress.last_ns, 500000 * MS);
	assert_int_equal(progress_limit_ms(&progress, false), 1000);
}

static void progress_limit_of_no_floor_is_none(void **state)
{
	struct progress progress = {0};
	progress_note(&progress, 1 * MS, true);
	progress_note(&progress, 100000 * MS, true);
	assert_true(progress_limit_ms(&progress, false) == UINT64_MAX);
	assert_true(progress_limit_ms(&progress, true) == UINT64_MAX);
}

static void progress_find_holder_takes_the_busiest_then_the_first_that_stood_still(void **state)
{
	struct progress_rank ranks[] = {
		{.is_awaited = true, .moved_ns = 50},
		{.is_awaited = true, .moved_ns = 40},
		{.is_awaited = false, .moved_ns = 10, .device_ns = 900}, // has reported
		{.is_awaited = true, .moved_ns = 60},
	};
	assert_int_equal(progress_find_holder(ranks, 4), 1);
	ranks[3].device_ns = 7; // whoever computes is not waiting for a neighbour
	assert_int_equal(progress_find_holder(ranks, 4), 3);
	ranks[0].device_ns = 8;
	assert_int_equal(progress_find_holder(ranks, 4), 0);
	for (int r = 0; r < 4; r++)
		ranks[r].is_awaited = false;
	assert_int_equal(progress_find_holder(ranks, 4), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(progress_limit_is_the_floor_until_steps_have_taken_longer),
		cmocka_unit_test(progress_note_outside_steps_is_not_measured),
		cmocka_unit_test(progress_limit_of_no_floor_is_none),
		cmocka_unit_test(progress_find_holder_takes_the_busiest_then_the_first_that_stood_still),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
