// The scrape: /metrics, /livez and /readyz over HTTP, on the libuv loop's thread.
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "common/base/error.h"
#include "common/metrics/metrics.h"

struct http;

struct http_options {
	const char *address; // HOST:PORT, [IPv6]:PORT or :PORT
	struct metrics *metrics;
	void (*refresh)(void *user);  // before /metrics is written; optional
	bool (*is_ready)(void *user); // for /readyz; optional: always
	// Each time that as many connections are open as may be: further ones wait. Optional.
	void (*is_full)(unsigned connections, void *user);
	void *user;
};

bool http_start(uv_loop_t *loop, const struct http_options *options, struct http **ret_http, struct error *error);
// Once a second: a server that was full looks for room again only when it is run.
void http_tick(struct http *http);
int http_port(const struct http *http);
int http_listener(const struct http *http); // its descriptor
void http_stop(struct http *http);          // takes NULL; the loop must run once more, then http_destroy
void http_destroy(struct http *http);
