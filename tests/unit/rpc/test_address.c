// Which addresses only this machine reaches.
#include "tests/unit/cmocka_all.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rpc_address_is_local_loopback_and_sockets_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
