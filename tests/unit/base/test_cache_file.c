// A cache file lies below a home that is there, and a home that is not there is not made.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cache_file.h"

static char folder[64];

static void expect(const char *cache, const char *home, const char *expected)
{
	setenv("XDG_CACHE_HOME", cache, 1);
	setenv("HOME", home, 1);
	char *path = cache_file_path("x");
	if (expected == NULL) // or there is a /var/cache that this user may write to
		assert_true(path == NULL || strcmp(path, "/var/cache/penstock/x") == 0);
	else
		assert_string_equal(path, expected);
	free(path);
}

static void path_is_below_what_is_there(void **state)
{
	char home[96], cache[96], below_cache[128], below_home[128], missing[96], deep[128];
	snprintf(folder, sizeof(folder), "/tmp/penstock-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(home, sizeof(home), "%s/home", folder);
	snprintf(cache, sizeof(cache), "%s/cache", folder);
	snprintf(missing, sizeof(missing), "%s/missing", folder);
	snprintf(deep, sizeof(deep), "%s/missing/cache", folder);
	snprintf(below_cache, sizeof(below_cache), "%s/cache/penstock/x", folder);
	snprintf(below_home, sizeof(below_home), "%s/home/.cache/penstock/x", folder);
	expect(deep, missing, NULL);
	expect("relative", missing, NULL);
	expect("", "", NULL);
	assert_int_equal(access(missing, F_OK), -1);
	assert_int_equal(mkdir(home, 0755), 0);
	expect(deep, home, below_home);
	expect(deep, home, below_home); // once more: the folders are there
	assert_int_equal(access(below_home, F_OK), -1);
	expect(cache, home, below_cache);
	assert_int_equal(access(missing, F_OK), -1);
	char command[160];
	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): a folder of our own
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(path_is_below_what_is_there)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
