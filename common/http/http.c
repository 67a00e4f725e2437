// libmicrohttpd without a thread of its own: its epoll descriptor is watched by the loop, and its time-outs are a timer.
#include "common/http/http.h"

#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/address.h"

enum { MAXIMUM_CONNECTIONS = 64, CONNECTION_TIMEOUT_S = 10, CONNECTION_MEMORY_BYTES = 16 << 10 };

struct http {
	struct http_options options;
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	int port;
	unsigned connections;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, char *text, bool owned)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		strlen(text), text, owned ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	if (response == NULL) {
		if (owned)
			free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

// The path of a request's target, which a proxy writes with scheme and host ("http://node-1:9464/metrics", RFC 9112, 3.2.2).
static const char *path_of(const char *target)
{
	static const char scheme[] = "http://";
	if (strncasecmp(target, scheme, strlen(scheme)) != 0)
		return target;
	const char *path = strchr(target + strlen(scheme), '/');
	return path != NULL ? path : "/";
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *target, const char *method,
			      const char *version, const char *upload, size_t *upload_bytes, void **context)
{
	struct http *http = user;
	static int seen; // the first call has the headers only; the answer goes out on the next
	if (*context == NULL) {
		*context = &seen;
		return MHD_YES;
	}
	if (*upload_bytes > 0) {
		*upload_bytes = 0; // read and forgotten
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n", false);
	const char *url = path_of(target);
	if (strcmp(url, "/livez") == 0)
		return answer(connection, MHD_HTTP_OK, "ok\n", false);
	if (strcmp(url, "/readyz") == 0)
		return http->options.is_ready == NULL || http->options.is_ready(http->options.user)
			       ? answer(connection, MHD_HTTP_OK, "ok\n", false)
			       : answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping\n", false);
	if (strcmp(url, "/metrics") != 0)
		return answer(connection, MHD_HTTP_NOT_FOUND, "not found: the paths are /metrics, /livez and /readyz\n",
			      false);
	if (http->options.refresh != NULL)
		http->options.refresh(http->options.user);
	char *text = metrics_text(http->options.metrics);
	return text != NULL ? answer(connection, MHD_HTTP_OK, text, true)
			    : answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n", false);
}

static void count_connection(void *user, struct MHD_Connection *connection, void **context,
			     enum MHD_ConnectionNotificationCode code)
{
	struct http *http = user;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED)
		http->connections--;
	else if (++http->connections == MAXIMUM_CONNECTIONS && http->options.is_full != NULL)
		http->options.is_full(MAXIMUM_CONNECTIONS, http->options.user);
}

static void run(struct http *http);

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void run(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;
	MHD_run(http->daemon);
	if (MHD_get_timeout(http->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&http->timer, on_timer, timeout_ms, 0);
	else
		uv_timer_stop(&http->timer);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	run(poll->data);
}

// Returns owned.
static struct addrinfo *look_up(const char *text, struct error *error)
{
	struct address address;
	char port[8];
	if (!address_parse(text, ADDRESS_TCP, &address, error))
		return NULL;
	snprintf(port, sizeof(port), "%d", address.port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
	int status = getaddrinfo(address.host[0] != '\0' ? address.host : NULL, port, &hints, &found);
	if (status != 0) {
		error_set(error, ERROR_USAGE, "\"%.80s\": %s", text, gai_strerror(status));
		return NULL;
	}
	return found;
}

bool http_start(uv_loop_t *loop, const struct http_options *options, struct http **ret_http, struct error *error)
{
	struct addrinfo *found = look_up(options->address, error);
	if (found == NULL)
		return false;
	struct http *http = calloc(1, sizeof(*http));
	if (http == NULL) {
		freeaddrinfo(found);
		return error_set(error, ERROR_FAILED, "no memory for the HTTP server");
	}
	http->options = *options;
	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | (found->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0), 0, NULL, NULL, handle, http,
		MHD_OPTION_SOCK_ADDR, found->ai_addr, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAXIMUM_CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_NOTIFY_CONNECTION, count_connection, http, MHD_OPTION_END);
	freeaddrinfo(found);
	if (http->daemon == NULL) {
		free(http);
		return error_set(error, ERROR_FAILED,
				 "cannot listen on %s: the address is in use, or is not this machine's",
				 options->address);
	}
	http->port = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
	uv_poll_init(loop, &http->poll, MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
	uv_timer_init(loop, &http->timer);
	http->poll.data = http->timer.data = http;
	uv_poll_start(&http->poll, UV_READABLE, on_readable);
	*ret_http = http;
	return true;
}

void http_tick(struct http *http)
{
	run(http);
}

int http_port(const struct http *http)
{
	return http->port;
}

int http_listener(const struct http *http)
{
	return MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_LISTEN_FD)->listen_fd;
}

void http_stop(struct http *http)
{
	if (http == NULL)
		return;
	uv_close((uv_handle_t *)&http->poll, NULL);
	uv_close((uv_handle_t *)&http->timer, NULL);
}

void http_destroy(struct http *http)
{
	if (http == NULL)
		return;
	MHD_stop_daemon(http->daemon);
	free(http);
}
