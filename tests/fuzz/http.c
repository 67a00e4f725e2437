// The scrape's server (common/http) on a real socket and a real loop: whatever bytes come, it answers in HTTP or hangs up, and
// serves on. The first byte says after how many of the others the client waits.
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "common/metrics/metrics.h"
#include "common/http/http.h"
#include "tests/fuzz/fuzz.h"

enum { ANSWER_BYTES = 1 << 16, PATIENCE_MS = 20000, SERVES_EVERY = 16 };

static uv_loop_t loop;
static struct http *http;

static void refresh(void *user)
{
}

static bool is_ready(void *user)
{
	return true;
}

static void start(void)
{
	static const struct metric_family family = {"penstock_fuzz_total", "Inputs.", METRIC_COUNTER, 1.0};
	struct metrics *metrics = metrics_create();
	struct http_options options = {
		.address = "127.0.0.1:0", .metrics = metrics, .refresh = refresh, .is_ready = is_ready};
	struct error error;
	metric_add(metrics_series(metrics, &family, ""), 1);
	DEMAND(uv_loop_init(&loop) == 0 && http_start(&loop, &options, &http, &error));
}

// Each from another loopback address, so that closed connections do not use up the ports of one.
static int dial(void)
{
	static uint32_t number;
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010000 | (number++ & 0xffff))};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)http_port(http)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	DEMAND(client >= 0 && bind(client, (struct sockaddr *)&from, sizeof(from)) == 0);
	DEMAND(connect(client, (struct sockaddr *)&to, sizeof(to)) == 0);
	return client;
}

static void send_all(int client, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t sent = send(client, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN) // it hung up, as it may
			return;
		if (sent > 0) {
			data += sent;
			size -= (size_t)sent;
		}
		uv_run(&loop, UV_RUN_NOWAIT);
	}
}

// Until the server hangs up, which it must. The answer is terminated.
static size_t receive(int client, char *into)
{
	size_t size = 0;
	for (int waited_ms = 0; waited_ms < PATIENCE_MS;) {
		uv_run(&loop, UV_RUN_NOWAIT);
		ssize_t got = recv(client, into + size, ANSWER_BYTES - 1 - size, MSG_DONTWAIT);
		if (got > 0)
			size += (size_t)got;
		else if (got == 0 || errno != EAGAIN) {
			into[size] = '\0';
			return size;
		} else {
			struct pollfd either[] = {{client, POLLIN, 0}, {uv_backend_fd(&loop), POLLIN, 0}};
			waited_ms += poll(either, 2, 1) == 0;
		}
		DEMAND(size < ANSWER_BYTES - 1);
	}
	DEMAND(!"the server did not hang up");
	return 0;
}

static const char *ask(const uint8_t *data, size_t size, size_t pause)
{
	static char answer[ANSWER_BYTES];
	int client = dial();
	pause = pause < size ? pause : size;
	send_all(client, data, pause);
	uv_run(&loop, UV_RUN_NOWAIT);
	send_all(client, data + pause, size - pause);
	shutdown(client, SHUT_WR);
	receive(client, answer);
	close(client);
	return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char scrape[] = "GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
	static unsigned count;
	if (size == 0)
		return 0;
	if (http == NULL)
		start();
	const char *answer = ask(data + 1, size - 1, data[0]);
	DEMAND(answer[0] == '\0' || strncmp(answer, "HTTP/1.", 7) == 0);
	if (count++ % SERVES_EVERY == 0) {
		answer = ask((const uint8_t *)scrape, sizeof(scrape) - 1, sizeof(scrape));
		DEMAND(strncmp(answer, "HTTP/1.1 200", 12) == 0 && strstr(answer, "\npenstock_fuzz_total 1\n") != NULL);
	}
	return 0;
}
