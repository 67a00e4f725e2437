// Names in certificates, and which addresses only this machine reaches.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "common/rpc/tls.h"

static void rpc_name_matches_one_label_for_a_star(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool expected;
	} cases[] = {
		{"node-1.example.org", "node-1.example.org", true},
		{"node-1.example.org", "NODE-1.Example.ORG", true},
		{"node-1.example.org", "node-1.example.org.evil.com", false},
		{"node-1.example.org", "xnode-1.example.org", false},
		{"node-1.example.org", "node-1.example.or", false},
		{"node-1.example.org", "", false},
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.11", false},
		{"*.example.org", "node-1.example.org", true},
		{"*.EXAMPLE.org", "node-1.example.org", true},
		{"*.example.org", "example.org", false},
		{"*.example.org", ".example.org", false},
		{"*.example.org", "rack-1.node-1.example.org", false},
		{"*.example.org", "evilexample.org", false},
		{"*.example.org", "node-1.example.org.evil.com", false},
		{"*.example.org", "node-1", false},
		{"*.example.org", "node_1.example.org", true},
		{"*.example.org", "*.example.org", true},
		{"*.example.org", "eve@mail.example.org", false}, // an e-mail address
		{"*.example.org", "https://eve.example.org", false},
		{"*.example.org", "spiffe://evil/eve.example.org", false},
		{"*.example.org", "node 1.example.org", false},
		{"node-1.example.org", "*.example.org", false}, // a certificate for all is not for one
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (rpc_name_matches(cases[i].pattern, cases[i].name, strlen(cases[i].name)) != cases[i].expected)
			fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].name);
}

static void rpc_name_matches_nothing_with_a_zero_in_it(void **state)
{
	static const char name[] = "node-1.example.org\0.evil.com";
	assert_false(rpc_name_matches("node-1.example.org", name, sizeof(name) - 1));
	assert_false(rpc_name_matches("*.example.org", name, sizeof(name) - 1));
	assert_true(rpc_name_matches("node-1.example.org", name, strlen(name)));
}

static void rpc_name_check_other_stars_are_refused(void **state)
{
	static const char *const good[] = {"alice", "node-1.example.org", "*.example.org", "10.0.0.1", "::1"};
	static const char *const bad[] = {"", "*", "*.", "*example.org", "node-*.example.org", "*.*.org", "a.*"};
	struct error error;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(rpc_name_check(good[i], &error));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (rpc_name_check(bad[i], &error))
			fail_msg("\"%s\" was taken", bad[i]);
		assert_int_equal(error.code, ERROR_USAGE);
	}
}

static void rpc_address_is_local_loopback_and_sockets_are(void **state)
{
	static const char *const local[] = {"127.0.0.1:7070",  "127.9.9.9:0",         "[::1]:7070",
					    "localhost:1",     "LocalHost:1",         "unix:/run/p.sock",
					    "unix-abstract:p", "[::ffff:127.0.0.1]:1"};
	static const char *const others[] = {"0.0.0.0:7070",
					     "[::]:7070",
					     "10.0.0.1:1",
					     "128.0.0.1:1",
					     "node-1:7070",
					     ":7070",
					     "",
					     "localhost.evil.com:1",
					     "127.0.0.1.evil.com:1",
					     "dns:localhost:1",
					     "[::1",
					     "[::ffff:10.0.0.1]:1",
					     "ipv4:127.0.0.1:1,10.0.0.1:1"};
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		if (!rpc_address_is_local(local[i]))
			fail_msg("\"%s\"", local[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (rpc_address_is_local(others[i]))
			fail_msg("\"%s\"", others[i]);
}

static void rpc_address_check_sockets_have_whole_paths(void **state)
{
	struct error error;
	char path[200] = "unix:/";
	assert_true(rpc_address_check("unix:/run/p.sock", &error));
	assert_true(rpc_address_check("127.0.0.1:0", &error));
	memset(path + strlen(path), 'a', 106);
	assert_true(rpc_address_check(path, &error));
	strcat(path, "a");
	static const char *const bad[] = {"unix:", "unix:p.sock", "unix-abstract:p", "127.0.0.1", ":1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (rpc_address_check(bad[i], &error))
			fail_msg("\"%s\" was taken", bad[i]);
		assert_int_equal(error.code, ERROR_USAGE);
	}
	assert_false(rpc_address_check(path, &error));
	assert_non_null(strstr(error.message, "a socket's path has at most 107 letters"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rpc_name_matches_one_label_for_a_star),
		cmocka_unit_test(rpc_name_matches_nothing_with_a_zero_in_it),
		cmocka_unit_test(rpc_name_check_other_stars_are_refused),
		cmocka_unit_test(rpc_address_is_local_loopback_and_sockets_are),
		cmocka_unit_test(rpc_address_check_sockets_have_whole_paths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
