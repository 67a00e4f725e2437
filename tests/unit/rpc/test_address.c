// Which addresses only this machine reaches.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "common/rpc/address.h"

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
		cmocka_unit_test(rpc_address_is_local_loopback_and_sockets_are),
		cmocka_unit_test(rpc_address_check_sockets_have_whole_paths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
