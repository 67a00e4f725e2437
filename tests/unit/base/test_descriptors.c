// How many files the process may have open.
#include "tests/unit/cmocka_all.h"

#include <sys/resource.h>

#include "common/base/descriptors.h"

static void descriptors_allow_all_raises_the_soft_limit(void **state)
{
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 32;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	descriptors_allow_all();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(limit.rlim_cur, limit.rlim_max);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_allow_all_raises_the_soft_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
