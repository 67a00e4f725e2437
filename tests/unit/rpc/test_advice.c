// gRPC's words for a connection that failed, as versions 1.30 to 1.51 write them, and what a user reads instead.
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "common/rpc/internal.h"

#define ALL "failed to connect to all addresses; last error: "

static void advice_says_cause_place_and_remedy(void **state)
{
	static const struct {
		bool over_tls;
		const char *said, *expected;
	} cases[] = {
		{false, ALL "UNKNOWN: ipv4:10.0.0.7:7070: Failed to connect to remote host: Connection refused",
		 "connection refused at 10.0.0.7:7070: is penstockd running there? systemctl status penstockd"},
		{true, ALL "UNKNOWN: ipv6:%5Bfe80::1%5D:7070: Failed to connect to remote host: Connection refused",
		 "connection refused at [fe80::1]:7070: is penstockd running there? systemctl status penstockd"},
		{false, ALL "UNKNOWN: unix:/run/p.sock: No such file or directory",
		 "there is no such socket: is penstockd running there? systemctl status penstockd"},
		{false, ALL "UNKNOWN: unix:/run/p.sock: Permission denied",
		 "permission denied: may this user open the socket? ls -l shows its owner and mode"},
		{false, ALL "UNKNOWN: ipv4:10.0.0.7:7070: Failed to connect to remote host: Connection timed out",
		 "the connection timed out at 10.0.0.7:7070: is the host up, and does a firewall block the "
		 "port?"},
		{false, ALL "UNKNOWN: ipv4:10.0.0.7:7070: connect() timed out",
		 "the connection timed out at 10.0.0.7:7070: is the host up, and does a firewall block the "
		 "port?"},
		{false, ALL "UNKNOWN: ipv4:10.0.0.7:7070: Failed to connect to remote host: No route to host",
		 "no route to the host at 10.0.0.7:7070: is the host up, and its address right?"},
		{false, "DNS resolution failed for node-b:7070: UNKNOWN: Name or service not known",
		 "the host name is unknown: does /etc/hosts or DNS have it?"},
		{false, "DNS resolution failed for node-b:7070: UNKNOWN: Temporary failure in name resolution",
		 "no name server responds: write an address in place of the name, or add the name to /etc/hosts"},
		{false, ALL "UNAVAILABLE: ipv4:10.0.0.7:22: Failed parsing HTTP/2",
		 "another program answers at 10.0.0.7:22: is this penstockd's port? It listens on 7070 by default"},
		{false, "Received http2 header with status: 404",
		 "another program answers: is this penstockd's port? It listens on 7070 by default"},
		{true, ALL "UNKNOWN: ipv4:10.0.0.7:7070: Ssl handshake failed: wrong version number",
		 "it does not speak TLS: give it --tls-cert-file"},
		{true, ALL "UNKNOWN: certificate verify failed", "its certificate has expired, or no authority"},
		{true, ALL "UNAVAILABLE: ipv4:10.0.0.7:7070: Socket closed",
		 "as a daemon does that refuses a certificate"},
		{false, ALL "UNAVAILABLE: ipv4:10.0.0.7:7070: Socket closed", "as a daemon with TLS does"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char detail[768];
		snprintf(detail, sizeof(detail), "%s", cases[i].said);
		assert_true(advice_add(cases[i].over_tls, detail, sizeof(detail)));
		if (strstr(detail, cases[i].expected) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", detail, cases[i].expected);
		if (!cases[i].over_tls && strstr(cases[i].said, "Socket closed") == NULL)
			assert_string_equal(detail, cases[i].expected); // and not gRPC's text beside it
	}
}

static void advice_leaves_other_texts_alone(void **state)
{
	static const char *const texts[] = {"", "Socket closed", "this daemon is stopping", "Connection refused",
					    "failed to connect to all addresses"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char detail[768];
		snprintf(detail, sizeof(detail), "%s", texts[i]);
		assert_false(advice_add(false, detail, sizeof(detail)));
		assert_string_equal(detail, texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(advice_says_cause_place_and_remedy),
		cmocka_unit_test(advice_leaves_other_texts_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
