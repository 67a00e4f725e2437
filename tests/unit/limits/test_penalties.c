// A flood's host is turned away for longer each time, and others are not.
#include "tests/unit/cmocka_all.h"

#include "stage_server/limits/penalties.h"

#define MS UINT64_C(1000000)

static const struct peer_host HOST = {4, {7}}, OTHER = {4, {8}};

static void penalties_add_again_doubles_up_to_the_longest(void **state)
{
	struct penalties penalties = {0};
	uint64_t now_ns = 1000 * MS;
	uint32_t expected_ms = PENALTY_FIRST_MS;
	for (int i = 0; i < 8; i++) {
		assert_false(penalties_hold(&penalties, &HOST, now_ns));
		assert_int_equal(penalties_add(&penalties, &HOST, now_ns), expected_ms);
		assert_int_equal(penalties_add(&penalties, &HOST, now_ns + MS), expected_ms); // the same flood
		assert_true(penalties_hold(&penalties, &HOST, now_ns + expected_ms * MS - 1));
		assert_false(penalties_hold(&penalties, &OTHER, now_ns + MS));
		now_ns += expected_ms * MS;
		expected_ms = expected_ms < PENALTY_LONGEST_MS ? 2 * expected_ms : PENALTY_LONGEST_MS;
	}
	now_ns += PENALTY_FORGIVEN_MS * MS + 1;
	assert_int_equal(penalties_add(&penalties, &HOST, now_ns), PENALTY_FIRST_MS);
}

static void penalties_add_of_more_hosts_than_there_is_room_forgets_the_first(void **state)
{
	struct penalties penalties = {0};
	for (uint32_t i = 1; i <= PENALTIES_MAXIMUM + 1; i++)
		penalties_add(&penalties, &(struct peer_host){6, {i}}, i * MS);
	uint64_t now_ns = (PENALTIES_MAXIMUM + 2) * MS;
	assert_false(penalties_hold(&penalties, &(struct peer_host){6, {1}}, now_ns));
	for (uint32_t i = 2; i <= PENALTIES_MAXIMUM + 1; i++)
		assert_true(penalties_hold(&penalties, &(struct peer_host){6, {i}}, now_ns));
	struct peer_host hosts[PENALTIES_MAXIMUM];
	assert_int_equal(penalties_list(&penalties, now_ns, hosts), PENALTIES_MAXIMUM);
}

static void penalties_strike_begins_one_only_for_who_does_it_all_the_time(void **state)
{
	struct penalties penalties = {0};
	uint64_t now_ns = 10000 * MS;
	for (int i = 0; i < 2 * PENALTY_STRIKES; i++)
		assert_false(penalties_strike(&penalties, &OTHER, now_ns + (uint64_t)i * 10 * MS));
	for (int i = 1; i < PENALTY_STRIKES; i++)
		assert_false(penalties_strike(&penalties, &HOST, now_ns + (uint64_t)i * MS));
	assert_true(penalties_strike(&penalties, &HOST, now_ns + PENALTY_STRIKES * MS));
	assert_true(penalties_hold(&penalties, &HOST, now_ns + 2 * PENALTY_STRIKES * MS));
	assert_false(penalties_strike(&penalties, &HOST, now_ns + 2 * PENALTY_STRIKES * MS)); // it has one
}

static void penalties_strike_of_hosts_in_turn_counts_each(void **state)
{
	struct penalties penalties = {0};
	uint64_t now_ns = 10000 * MS;
	for (int i = 1; i < PENALTY_STRIKES; i++) {
		assert_false(penalties_strike(&penalties, &HOST, now_ns + (uint64_t)i * MS));
		assert_false(penalties_strike(&penalties, &OTHER, now_ns + (uint64_t)i * MS));
	}
	assert_true(penalties_strike(&penalties, &HOST, now_ns + PENALTY_STRIKES * MS));
	assert_true(penalties_strike(&penalties, &OTHER, now_ns + PENALTY_STRIKES * MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(penalties_add_again_doubles_up_to_the_longest),
		cmocka_unit_test(penalties_strike_begins_one_only_for_who_does_it_all_the_time),
		cmocka_unit_test(penalties_strike_of_hosts_in_turn_counts_each),
		cmocka_unit_test(penalties_add_of_more_hosts_than_there_is_room_forgets_the_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
