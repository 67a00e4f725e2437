// Lines that are left out, and counted.
#include "tests/unit/cmocka_all.h"

#include "common/base/log_rate.h"

#define SECOND_NS UINT64_C(1000000000)

static void allows_the_first_and_then_one_an_interval(void **state)
{
	struct log_rate rate = {0};
	uint64_t begin_ns = 5 * SECOND_NS, end_ns = begin_ns + LOG_RATE_INTERVAL_S * SECOND_NS, unlogged = 77;
	assert_true(log_rate_allows(&rate, begin_ns, &unlogged));
	assert_int_equal(unlogged, 0);
	unlogged = 77;
	assert_false(log_rate_allows(&rate, begin_ns, &unlogged));
	assert_false(log_rate_allows(&rate, end_ns - 1, &unlogged));
	assert_int_equal(unlogged, 77);
	assert_true(log_rate_allows(&rate, end_ns, &unlogged));
	assert_int_equal(unlogged, 2);
	assert_false(log_rate_allows(&rate, end_ns + 1, &unlogged));
	assert_true(log_rate_allows(&rate, end_ns + LOG_RATE_INTERVAL_S * SECOND_NS, &unlogged));
	assert_int_equal(unlogged, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allows_the_first_and_then_one_an_interval),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
