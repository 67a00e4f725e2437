// Whoever was late itself blames nobody for it.
#include "tests/unit/cmocka_all.h"

#include "common/base/lateness.h"

#define MS UINT64_C(1000000)

static void lateness_silence_of_one_who_looks_in_time_is_the_peers(void **state)
{
	struct lateness lateness = {0};
	for (uint64_t ms = 5000; ms <= 15000; ms += LATENESS_MAXIMUM_MS)
		lateness_look(&lateness, ms * MS, LATENESS_MAXIMUM_MS * MS);
	assert_int_equal(lateness_silence_ms(&lateness, 5000 * MS, 15000 * MS), 10000);
	assert_int_equal(lateness_silence_ms(&lateness, 15001 * MS, 15000 * MS), 0); // heard meanwhile
}

static void lateness_look_after_a_gap_begins_a_fresh_interval(void **state)
{
	struct lateness lateness = {0};
	lateness_look(&lateness, 5000 * MS, 0);
	lateness_look(&lateness, 60000 * MS, 0);
	assert_int_equal(lateness_silence_ms(&lateness, 5000 * MS, 60000 * MS), 0);
	lateness_look(&lateness, 61000 * MS, 0);
	assert_int_equal(lateness_silence_ms(&lateness, 5000 * MS, 61000 * MS), 1000);
	assert_int_equal(lateness_silence_ms(&lateness, 60500 * MS, 61000 * MS), 500);
}

static void lateness_look_of_one_who_is_behind_begins_a_fresh_interval(void **state)
{
	struct lateness lateness = {0};
	lateness_look(&lateness, 5000 * MS, 0);
	lateness_look(&lateness, 6000 * MS, LATENESS_MAXIMUM_MS * MS + 1);
	assert_int_equal(lateness_silence_ms(&lateness, 4000 * MS, 7000 * MS), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lateness_silence_of_one_who_looks_in_time_is_the_peers),
		cmocka_unit_test(lateness_look_after_a_gap_begins_a_fresh_interval),
		cmocka_unit_test(lateness_look_of_one_who_is_behind_begins_a_fresh_interval),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
