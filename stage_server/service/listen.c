// Where the daemon listens, and for what: calls by gRPC, within limits, and scrapes by HTTP.
#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "stage_server/limits/connections.h"
#include "stage_server/service/internal.h"

enum { NETWORK_THREADS = 2 };

// ---- Limits

static bool on_call_began(const char *peer, void *user)
{
	return connections_call_began(peer);
}

static void on_call_ended(const char *peer, bool cancelled, void *user)
{
	connections_call_ended(peer, cancelled);
}

static void on_limit_hit(enum rpc_limit limit, const char *detail, void *user)
{
	static const enum limit limits[] = {[RPC_LIMIT_MESSAGE] = LIMIT_MESSAGE_SIZE,
					    [RPC_LIMIT_METADATA] = LIMIT_METADATA_SIZE,
					    [RPC_LIMIT_BUFFERED] = LIMIT_BUFFERED};
	struct daemon *daemon = user;
	limits_hit(daemon->limits, limits[limit], "%s", detail);
}

static void on_call_refused(struct rpc_stream *stream, const char *method, void *user)
{
	struct daemon *daemon = user;
	access_refused(stream, method, daemon->access);
}

bool daemon_open_connections(struct daemon *daemon, struct error *error)
{
	const struct daemon_options *options = daemon->options;
	daemon->limits = limits_create(daemon->metrics);
	struct connections_options connections = {.limits = daemon->limits,
						  .metrics = daemon->metrics,
						  .maximum = options->maximum_connections,
						  .maximum_streams = options->maximum_streams,
						  .idle_timeout_ms = options->idle_timeout_s * 1000,
						  .handshake_timeout_ms = options->handshake_timeout_s * 1000};
	return daemon->limits != NULL ? connections_open(&connections, error)
				      : error_set(error, ERROR_FAILED, "out of memory");
}

// ---- Calls

bool daemon_listen_for_calls(struct daemon *daemon, struct error *error)
{
	const struct rpc_method methods[] = {
		{PROTOCOL_METHOD_DESCRIBE, queries_handle_describe, daemon->queries, .for_everybody = false},
		{PROTOCOL_METHOD_SESSION, session_host_handle_session, daemon->sessions, .for_everybody = false},
		{PROTOCOL_METHOD_EXCHANGE, session_host_handle_exchange, daemon->sessions, .for_everybody = false},
		{PROTOCOL_METHOD_HEALTH_CHECK, queries_handle_health_check, daemon->queries, .for_everybody = true},
		{PROTOCOL_METHOD_HEALTH_WATCH, queries_handle_health_watch, daemon->queries, .for_everybody = true},
		{PROTOCOL_METHOD_REFLECTION, queries_handle_reflection, daemon->queries, .for_everybody = false},
		{PROTOCOL_METHOD_REFLECTION_V1ALPHA, queries_handle_reflection, daemon->queries,
		 .for_everybody = false},
	};
	static const struct rpc_server_events events = {.call_began = on_call_began,
							.call_ended = on_call_ended,
							.limit_hit = on_limit_hit,
							.call_refused = on_call_refused};
	struct rpc_server_options options = {.addresses = (const char *const *)daemon->options->listen.values,
					     .address_count = daemon->options->listen.count,
					     .keepalive_ms = PROTOCOL_KEEPALIVE_MS,
					     .tls = access_tls(daemon->access),
					     .allowed_names = (const char *const *)daemon->options->allow_name.values,
					     .allowed_name_count = daemon->options->allow_name.count,
					     .maximum_concurrent_streams = daemon->options->maximum_streams,
					     .maximum_message_bytes = (uint32_t)daemon->options->maximum_message_bytes,
					     .maximum_metadata_bytes =
						     (uint32_t)daemon->options->maximum_metadata_bytes,
					     .maximum_buffered_bytes = daemon->options->maximum_buffered_bytes,
					     .idle_timeout_ms = daemon->options->idle_timeout_s * 1000,
					     .handshake_timeout_ms = daemon->options->handshake_timeout_s * 1000,
					     .events = &events,
					     .user = daemon};
	if (!rpc_start(NETWORK_THREADS, error))
		return false;
	daemon->rpc_is_started = true;
	if (!rpc_server_start(&options, methods, sizeof(methods) / sizeof(methods[0]), &daemon->server, error))
		return error_wrap(error, "--listen");
	return true;
}

// ---- Scrapes

static void refresh_metrics(void *user)
{
	struct daemon *daemon = user;
	device_metrics_refresh(daemon->device_metrics);
}

static bool is_ready(void *user)
{
	struct daemon *daemon = user;
	return daemon->state == DAEMON_SERVING;
}

static void scrapes_are_full(unsigned connections, void *user)
{
	struct daemon *daemon = user;
	limits_hit(daemon->limits, LIMIT_SCRAPES, "%u connection%s to --metrics-listen %s open: further ones wait",
		   connections, strings_plural(connections), connections == 1 ? "is" : "are");
}

bool daemon_listen_for_scrapes(struct daemon *daemon, struct error *error)
{
	if (daemon->options->metrics_listen == NULL)
		return true;
	struct http_options http = {.address = daemon->options->metrics_listen,
				    .metrics = daemon->metrics,
				    .refresh = refresh_metrics,
				    .is_ready = is_ready,
				    .is_full = scrapes_are_full,
				    .user = daemon};
	if (!http_start(&daemon->loop, &http, &daemon->http, error))
		return error_wrap(error, "--metrics-listen");
	connections_leave_alone(http_listener(daemon->http));
	return true;
}
