// Connections over real sockets, accepted as gRPC's listener does.
#include "tests/unit/cmocka_all.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "stage_server/limits/connections.h"

enum { MAXIMUM = 3 };

static struct metrics *metrics;
static struct limits *limits;
static int listener;
static struct sockaddr_in address;

static int begin(void **state)
{
	struct error error;
	socklen_t length = sizeof(address);
	metrics = metrics_create();
	limits = limits_create(metrics);
	address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	return !(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listener, 16) == 0 &&
		 getsockname(listener, (struct sockaddr *)&address, &length) == 0 &&
		 connections_open(&(struct connections_options){.limits = limits,
								.metrics = metrics,
								.maximum = MAXIMUM,
								.maximum_streams = 2,
								.idle_timeout_ms = 1,
								.handshake_timeout_ms = 60000},
				  &error));
}

static int end(void **state)
{
	connections_close();
	close(listener);
	limits_destroy(limits);
	metrics_destroy(metrics);
	return 0;
}

static void assert_metric(const char *name, int value)
{
	char line[128];
	snprintf(line, sizeof(line), "\n%s %d\n", name, value);
	char *text = metrics_text(metrics);
	if (strstr(text, line) == NULL)
		fail_msg("no %s in\n%s", line + 1, text);
	free(text);
}

static int connect_one(void)
{
	int client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	return client;
}

// -1: there is none that may be accepted, for now.
static int accept_one(char *peer, size_t size)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	int descriptor = accept4(listener, (struct sockaddr *)&from, &length, SOCK_NONBLOCK);
	if (descriptor < 0)
		assert_int_equal(errno, EAGAIN);
	else
		snprintf(peer, size, "ipv4:127.0.0.1:%d", ntohs(from.sin_port));
	return descriptor;
}

static void accept4_over_the_maximum_is_closed_until_there_is_room(void **state)
{
	int clients[MAXIMUM + 1], accepted[MAXIMUM];
	char peer[64], byte;
	for (int i = 0; i < MAXIMUM + 1; i++)
		clients[i] = connect_one();
	for (int i = 0; i < MAXIMUM; i++)
		assert_true((accepted[i] = accept_one(peer, sizeof(peer))) >= 0);
	assert_int_equal(accept_one(peer, sizeof(peer)), -1);
	assert_int_equal(recv(clients[MAXIMUM], &byte, 1, 0), 0);
	assert_metric("penstock_connections", MAXIMUM);
	assert_metric("penstock_limit_hits_total{limit=\"connections\"}", 1);
	close(clients[MAXIMUM]);
	close(accepted[0]);
	assert_metric("penstock_connections", MAXIMUM - 1);
	clients[MAXIMUM] = connect_one();
	assert_true((accepted[0] = accept_one(peer, sizeof(peer))) >= 0);
	for (int i = 0; i < MAXIMUM; i++)
		close(accepted[i]);
	for (int i = 0; i < MAXIMUM + 1; i++)
		close(clients[i]);
	assert_metric("penstock_connections", 0);
}

static void accept4_without_a_descriptor_left_closes_and_goes_on(void **state)
{
	struct rlimit before, none;
	char peer[64], byte;
	int client = connect_one();
	int next = open("/dev/null", O_RDONLY);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){(rlim_t)next, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(accept_one(peer, sizeof(peer)), -1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(recv(client, &byte, 1, 0), 0);
	assert_metric("penstock_limit_hits_total{limit=\"descriptors\"}", 1);
	close(client);
	client = connect_one();
	int accepted = accept_one(peer, sizeof(peer));
	assert_true(accepted >= 0);
	close(accepted);
	close(client);
}

static void call_began_at_the_maximum_is_counted_and_a_flood_is_cut(void **state)
{
	char peer[64], byte;
	int client = connect_one(), accepted = accept_one(peer, sizeof(peer));
	connections_call_began(peer);
	assert_metric("penstock_limit_hits_total{limit=\"streams\"}", 0);
	connections_call_began(peer);
	assert_metric("penstock_limit_hits_total{limit=\"streams\"}", 1);
	connections_call_ended(peer, false);
	connections_call_began("ipv4:192.0.2.1:1"); // nobody's
	for (int i = 0; i < 20; i++)
		connections_call_began(peer);
	assert_int_equal(recv(client, &byte, 1, 0), 0);
	close(accepted);
	close(client);
}

static int begin_to_connect(const char *from)
{
	struct sockaddr_in source = {.sin_family = AF_INET};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	inet_pton(AF_INET, from, &source.sin_addr);
	assert_int_equal(bind(client, (struct sockaddr *)&source, sizeof(source)), 0);
	assert_true(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EINPROGRESS);
	return client;
}

static void call_ended_by_too_many_resets_is_a_flood_and_its_host_is_turned_away(void **state)
{
	char peer[64], byte;
	int client = connect_one(), accepted = accept_one(peer, sizeof(peer));
	for (int i = 0; i < 15; i++) {
		assert_true(connections_call_began(peer));
		connections_call_ended(peer, true);
		assert_true(connections_call_began(peer));
		connections_call_ended(peer, false); // the daemon's own end is no reset
	}
	assert_true(connections_call_began(peer));
	assert_true(connections_call_began(peer));
	connections_call_ended(peer, true); // the sixteenth
	assert_false(connections_call_began(peer));
	assert_int_equal(recv(client, &byte, 1, 0), 0);
	connections_call_ended(peer, true); // those that were on their way are no further flood
	assert_metric("penstock_limit_hits_total{limit=\"streams\"}", 2); // two at once, and the flood
	close(accepted);
	close(client);
	// The kernel drops what the host sends; nobody has to accept it to turn it away.
	client = begin_to_connect("127.0.0.1");
	assert_int_equal(poll(&(struct pollfd){.fd = client, .events = POLLOUT}, 1, 300), 0);
	close(client);
	client = begin_to_connect("127.0.0.2");
	char another[64];
	accepted = accept_one(another, sizeof(another));
	assert_true(accepted >= 0);
	assert_metric("penstock_connections", 1);
	close(accepted);
	close(client);
}

static void shutdown_of_an_idle_connection_is_told_from_its_peers_end(void **state)
{
	char peer[64];
	int clients[3], accepted[3];
	for (int i = 0; i < 3; i++) {
		clients[i] = connect_one();
		accepted[i] = accept_one(peer, sizeof(peer));
	}
	connections_call_began(peer); // the third is not idle
	close(clients[1]);            // the second's peer is gone
	for (int i = 0; i < 3; i++) {
		shutdown(accepted[i], SHUT_RDWR);
		shutdown(accepted[i], SHUT_RDWR); // counts once
		close(accepted[i]);
	}
	assert_metric("penstock_limit_hits_total{limit=\"idle_timeout\"}", 1);
	assert_metric("penstock_limit_hits_total{limit=\"handshake_timeout\"}", 0);
	close(clients[0]);
	close(clients[2]);
}

// ---- Streams, as a client's bytes begin them

enum { FLOOD = 17, FRAME_BYTES = 9 }; // one more than eight times two at once

// The streams from the first's number on, taken off the accepted end; what that gave.
static ssize_t begin_streams(int client, int accepted, uint32_t first, uint32_t count)
{
	static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	uint8_t bytes[24 + 64 * FRAME_BYTES];
	size_t length = 0;
	if (first == 1)
		memcpy(bytes, hello, length = 24);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t stream = first + 2 * i;
		uint8_t frame[FRAME_BYTES] = {0, 0, 0, 1, 4, 0, 0, (uint8_t)(stream >> 8), (uint8_t)stream};
		memcpy(bytes + length, frame, FRAME_BYTES);
		length += FRAME_BYTES;
	}
	assert_int_equal(send(client, bytes, length, 0), length);
	struct iovec part = {bytes, sizeof(bytes)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	return recvmsg(accepted, &message, 0);
}

static void open_socket(int ends[2])
{
	struct sockaddr_un name = {.sun_family = AF_UNIX}, from;
	socklen_t length = sizeof(name), from_length = sizeof(from);
	int door = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(door, (struct sockaddr *)&name, sizeof(name.sun_family)), 0); // a name that is free
	assert_int_equal(listen(door, 1), 0);
	assert_int_equal(getsockname(door, (struct sockaddr *)&name, &length), 0);
	ends[0] = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(ends[0], (struct sockaddr *)&name, length), 0);
	ends[1] = accept4(door, (struct sockaddr *)&from, &from_length, SOCK_NONBLOCK);
	assert_true(ends[1] >= 0);
	close(door);
}

static void close_both(int ends[2])
{
	close(ends[1]);
	close(ends[0]);
}

static void recvmsg_of_calls_over_a_socket_that_end_is_no_flood(void **state)
{
	int ends[2], flood[2];
	open_socket(ends);
	open_socket(flood);
	for (uint32_t i = 0; i < 4 * FLOOD; i++) {
		assert_true(begin_streams(ends[0], ends[1], 1 + 2 * i, 1) > 0);
		assert_true(connections_call_began("unix:"));
		connections_call_ended("unix:", false);
	}
	assert_int_equal(begin_streams(flood[0], flood[1], 1, FLOOD), 0);
	assert_true(begin_streams(ends[0], ends[1], 1 + 8 * FLOOD, 1) > 0);
	assert_metric("penstock_limit_hits_total{limit=\"streams\"}", 1);
	close_both(ends);
	close_both(flood);
}

static void recvmsg_of_streams_that_became_no_calls_is_a_flood_only_within_a_second(void **state)
{
	char peer[64];
	int client = connect_one(), accepted = accept_one(peer, sizeof(peer));
	assert_true(begin_streams(client, accepted, 1, 1) > 0);
	assert_true(connections_call_began(peer)); // and goes on, as a session does
	for (uint32_t second = 0; second < FLOOD; second++) {
		assert_true(begin_streams(client, accepted, 3 + 8 * second, 4) > 0);
		connections_tick();
	}
	assert_metric("penstock_limit_hits_total{limit=\"streams\"}", 0);
	assert_int_equal(begin_streams(client, accepted, 1001, FLOOD), 0);
	assert_metric("penstock_limit_hits_total{limit=\"streams\"}", 1);
	close(accepted);
	close(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(accept4_over_the_maximum_is_closed_until_there_is_room, begin, end),
		cmocka_unit_test_setup_teardown(accept4_without_a_descriptor_left_closes_and_goes_on, begin, end),
		cmocka_unit_test_setup_teardown(call_began_at_the_maximum_is_counted_and_a_flood_is_cut, begin, end),
		cmocka_unit_test_setup_teardown(call_ended_by_too_many_resets_is_a_flood_and_its_host_is_turned_away,
						begin, end),
		cmocka_unit_test_setup_teardown(shutdown_of_an_idle_connection_is_told_from_its_peers_end, begin, end),
		cmocka_unit_test_setup_teardown(recvmsg_of_calls_over_a_socket_that_end_is_no_flood, begin, end),
		cmocka_unit_test_setup_teardown(recvmsg_of_streams_that_became_no_calls_is_a_flood_only_within_a_second,
						begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
