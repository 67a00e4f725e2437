// Addresses to listen on.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "common/base/address.h"

static void address_check_what_is_documented_is_taken(void **state)
{
	static const char *const good[] = {"127.0.0.1:7070", "0.0.0.0:0", "localhost:65535", "node-1.example.org:1",
					   "[::1]:7070",     "[::]:0",    "[fe80::1%eth0]:1"};
	struct error error;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!address_check(good[i], false, &error))
			fail_msg("%s", error.message);
	assert_true(address_check(":9464", true, &error));
}

static void address_check_anything_else_is_refused_with_why(void **state)
{
	static const struct {
		const char *address, *why;
	} cases[] = {
		{"", "the port is missing"},
		{"nonsense", "the port is missing"},
		{"127.0.0.1", "the port is missing"},
		{":7070", "the host is missing"},
		{"127.0.0.1:", "the port is not"},
		{"127.0.0.1:-1", "the port is not"},
		{"127.0.0.1:65536", "the port is not"},
		{"127.0.0.1:4294967296", "the port is not"},
		{"127.0.0.1:70x", "the port is not"},
		{"127.0.0.1: 70", "the port is not"},
		{"127.0.0.1:http", "the port is not"},
		{"::1:7070", "several colons"},
		{"vsock:1:2", "several colons"},
		{"\"127.0.0.1:7070\"", "letters"},
		{"a/b:1", "letters"},
		{"dns:///x:1", "several colons"},
		{"[::1]", "behind ]"},
		{"[::1]7070", "behind ]"},
		{"[::1", "behind ]"},
		{"[localhost]:1", "no IPv6"},
		{"[]:1", "no IPv6"},
		{"[::1]:70000", "the port is not"},
		{"127.0.0.1:1,127.0.0.1:2", "several colons"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error error = {0};
		if (address_check(cases[i].address, false, &error))
			fail_msg("\"%s\" was taken", cases[i].address);
		assert_int_equal(error.code, ERROR_USAGE);
		if (strstr(error.message, cases[i].why) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(address_check_what_is_documented_is_taken),
		cmocka_unit_test(address_check_anything_else_is_refused_with_why),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
