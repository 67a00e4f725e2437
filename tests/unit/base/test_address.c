// Addresses in each of their forms: what is taken and of what parts it is, what is refused with why, and what only this machine reaches.
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "common/base/address.h"

static void address_parse_what_is_documented_is_taken_apart(void **state)
{
	static const struct {
		const char *text;
		enum address_form form;
		enum address_kind kind;
		const char *host;
		int port;
	} cases[] = {
		{"127.0.0.1:7070", ADDRESS_WHOLE, ADDRESS_HOST, "127.0.0.1", 7070},
		{"0.0.0.0:0", ADDRESS_WHOLE, ADDRESS_HOST, "0.0.0.0", 0},
		{"node-1.example.org:65535", ADDRESS_WHOLE, ADDRESS_HOST, "node-1.example.org", 65535},
		{"[::1]:7070", ADDRESS_WHOLE, ADDRESS_IPV6, "::1", 7070},
		{"[::]:0", ADDRESS_TCP, ADDRESS_IPV6, "::", 0},
		{"[fe80::1%eth0]:1", ADDRESS_WHOLE, ADDRESS_IPV6, "fe80::1%eth0", 1},
		{"unix:/run/p.sock", ADDRESS_WHOLE, ADDRESS_SOCKET, "/run/p.sock", ADDRESS_NO_PORT},
		{"unix:/run/a:1", ADDRESS_NODE, ADDRESS_SOCKET, "/run/a:1", ADDRESS_NO_PORT},
		{":9464", ADDRESS_TCP, ADDRESS_HOST, "", 9464},
		{"node_1", ADDRESS_NODE, ADDRESS_HOST, "node_1", ADDRESS_NO_PORT},
		{"node:1", ADDRESS_NODE, ADDRESS_HOST, "node", 1},
		{"[fe80::1]", ADDRESS_NODE, ADDRESS_IPV6, "fe80::1", ADDRESS_NO_PORT},
		{"[fe80::1]:65535", ADDRESS_NODE, ADDRESS_IPV6, "fe80::1", 65535},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address address;
		struct error error;
		char text[ADDRESS_SIZE];
		if (!address_parse(cases[i].text, cases[i].form, &address, &error))
			fail_msg("%s", error.message);
		assert_int_equal(address.kind, cases[i].kind);
		assert_string_equal(address.host, cases[i].host);
		assert_int_equal(address.port, cases[i].port);
		assert_string_equal(address_write(&address, text, sizeof(text)), cases[i].text);
		assert_int_equal(address_is_socket(cases[i].text), cases[i].kind == ADDRESS_SOCKET);
	}
}

static void address_parse_anything_else_is_refused_with_why(void **state)
{
	static const struct {
		const char *text;
		enum address_form form;
		const char *why;
	} cases[] = {
		{"", ADDRESS_WHOLE, "\"\" is not HOST:PORT or [IPv6]:PORT: the host is missing"},
		{"nonsense", ADDRESS_WHOLE, "the port is missing"},
		{"127.0.0.1", ADDRESS_WHOLE, "the port is missing"},
		{":7070", ADDRESS_WHOLE, "the host is missing"},
		{":7070", ADDRESS_NODE, "the host is missing"},
		{"", ADDRESS_NODE, "the host is missing"},
		{"127.0.0.1:", ADDRESS_WHOLE, "the port is not"},
		{"127.0.0.1:-1", ADDRESS_WHOLE, "the port is not"},
		{"127.0.0.1:65536", ADDRESS_WHOLE, "the port is not"},
		{"127.0.0.1:4294967296", ADDRESS_WHOLE, "the port is not"},
		{"127.0.0.1:70x", ADDRESS_WHOLE, "the port is not"},
		{"127.0.0.1: 70", ADDRESS_WHOLE, "the port is not"},
		{"127.0.0.1:http", ADDRESS_TCP, "the port is not a whole number from 0 to 65535"},
		{"a:0", ADDRESS_NODE, "the port is not a whole number from 1 to 65535"},
		{"a:", ADDRESS_NODE, "the port is not"},
		{"::1:7070", ADDRESS_WHOLE, "several colons"},
		{"fe80::1", ADDRESS_NODE, "several colons: write an IPv6 address in brackets"},
		{"vsock:1:2", ADDRESS_WHOLE, "several colons"},
		{"\"127.0.0.1:7070\"", ADDRESS_WHOLE, "a character that is not allowed"},
		{"user@a", ADDRESS_NODE, "a character that is not allowed"},
		{"a/b:1", ADDRESS_WHOLE, "a character that is not allowed"},
		{"--json", ADDRESS_NODE, "a host name cannot begin with -"},
		{"dns:///x:1", ADDRESS_WHOLE, "several colons"},
		{"dns:53", ADDRESS_WHOLE, "this name is also a kind of address"},
		{"DNS", ADDRESS_NODE, "this name is also a kind of address"},
		{"unix-abstract:1", ADDRESS_WHOLE, "this name is also a kind of address"},
		{"[fe80::1%]:1", ADDRESS_NODE, "the text in brackets is not an IPv6 address"},
		{"[::1]", ADDRESS_WHOLE, "a colon and a port must follow ]"},
		{"[::1]7070", ADDRESS_NODE, "a colon and a port must follow ]"},
		{"[::1", ADDRESS_NODE, "a colon and a port must follow ]"},
		{"[localhost]:1", ADDRESS_WHOLE, "not an IPv6 address"},
		{"[]", ADDRESS_NODE, "not an IPv6 address"},
		{"[::1%a b]:1", ADDRESS_WHOLE, "not an IPv6 address"},
		{"[::1]:70000", ADDRESS_WHOLE, "the port is not"},
		{"127.0.0.1:1,127.0.0.1:2", ADDRESS_WHOLE, "several colons"},
		{"unix:", ADDRESS_WHOLE, "\"unix:\" is not unix:/PATH"},
		{"unix:p.sock", ADDRESS_NODE, "the path must be absolute, as in unix:/run/penstockd.sock"},
		{"unix:4", ADDRESS_TCP, "this name is also a kind of address"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address address = {.port = 77};
		struct error error = {0};
		if (address_parse(cases[i].text, cases[i].form, &address, &error))
			fail_msg("\"%s\" was taken", cases[i].text);
		assert_int_equal(error.code, ERROR_USAGE);
		assert_int_equal(address.port, 77);
		if (strstr(error.message, cases[i].why) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].why);
	}
}

static void address_parse_lengths_have_ends(void **state)
{
	struct address address;
	struct error error;
	char text[400] = "unix:/";
	memset(text + strlen(text), 'a', 106);
	assert_true(address_parse(text, ADDRESS_WHOLE, NULL, &error));
	strcat(text, "a");
	assert_false(address_parse(text, ADDRESS_WHOLE, NULL, &error));
	assert_non_null(strstr(error.message, "the path of a Unix socket has at most 107 bytes"));
	memset(text, 'a', sizeof(text));
	strcpy(text + ADDRESS_HOST_SIZE - 1, ":1");
	assert_true(address_parse(text, ADDRESS_WHOLE, &address, &error));
	assert_int_equal(strlen(address.host), ADDRESS_HOST_SIZE - 1);
	memset(text, 'a', sizeof(text));
	strcpy(text + ADDRESS_HOST_SIZE, ":1");
	assert_false(address_parse(text, ADDRESS_WHOLE, &address, &error));
	assert_non_null(strstr(error.message, "the host name is too long"));
}

static void address_is_local_loopback_and_sockets_are(void **state)
{
	static const char *const local[] = {"127.0.0.1:7070", "127.9.9.9:0",      "[::1]:7070",          "localhost:1",
					    "LocalHost:1",    "unix:/run/p.sock", "[::ffff:127.0.0.1]:1"};
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
					     "unix-abstract:p",
					     "[::1",
					     "[::ffff:10.0.0.1]:1",
					     "ipv4:127.0.0.1:1,10.0.0.1:1"};
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		if (!address_is_local(local[i]))
			fail_msg("\"%s\"", local[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (address_is_local(others[i]))
			fail_msg("\"%s\"", others[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(address_parse_what_is_documented_is_taken_apart),
		cmocka_unit_test(address_parse_anything_else_is_refused_with_why),
		cmocka_unit_test(address_parse_lengths_have_ends),
		cmocka_unit_test(address_is_local_loopback_and_sockets_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
