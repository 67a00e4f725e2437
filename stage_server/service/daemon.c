// See daemon.h.
#include "stage_server/service/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "common/base/address.h"
#include "common/base/clock.h"
#include "common/base/descriptors.h"
#include "common/http/http.h"
#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"
#include "stage_server/limits/connections.h"
#include "stage_server/service/access.h"
#include "stage_server/service/announce.h"
#include "stage_server/service/device_metrics.h"
#include "stage_server/service/queries.h"
#include "stage_server/service/reload.h"
#include "stage_server/service/status.h"
#include "stage_server/service/systemd.h"
#include "stage_server/session/session.h"

_Static_assert((int)OPTION_LIST_MAXIMUM == (int)DEVICES_MAXIMUM, "every --device has its slot");

enum { TICK_MS = 1000, NETWORK_THREADS = 2, DRAIN_TICK_MS = 20 };

// How long sessions that were ended, not drained, may take to come back from their device, and how long when somebody is impatient.
enum { END_TIMEOUT_MS = 8000, HURRIED_END_TIMEOUT_MS = 2000 };

enum daemon_state {
	DAEMON_SERVING,
	DAEMON_DRAINING, // no new sessions; those that run end their running step
	DAEMON_ENDING,   // all sessions were ended
	DAEMON_CLOSING,  // the loop has stopped
};

static const struct metric_family build_info = {"penstock_build_info", "What this daemon is; always 1.", METRIC_GAUGE,
						1.0};
static const struct metric_family start_time = {"penstock_start_time_seconds", "When the daemon began, in Unix time.",
						METRIC_GAUGE, 1.0};

struct daemon {
	struct daemon_options *options; // a reload changes a few
	int argc;
	char **argv;
	uv_loop_t loop;
	struct event_queue *queue;
	struct access *access;
	struct devices *devices;
	struct metrics *metrics;
	struct limits *limits;
	struct device_metrics *device_metrics;
	struct session_host *sessions;
	struct queries *queries;
	struct rpc_server *server;
	struct http *http;
	struct systemd *systemd;
	uv_timer_t tick, drain;
	uv_signal_t on_terminate, on_interrupt, on_hang_up;
	enum daemon_state state;
	uint64_t limit_ns; // of the state
	bool loop_is_open, rpc_is_started;
};

// ---- Metrics

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

static bool begin_metrics(struct daemon *daemon, struct error *error)
{
	char labels[160];
	snprintf(labels, sizeof(labels), "version=\"%s\",protocol_version=\"%d\"", PENSTOCK_VERSION, PROTOCOL_VERSION);
	metric_set(metrics_series(daemon->metrics, &build_info, labels), 1);
	metric_set(metrics_series(daemon->metrics, &start_time, ""), (uint64_t)time(NULL));
	daemon->device_metrics = device_metrics_create(daemon->devices, daemon->metrics);
	return daemon->device_metrics != NULL || error_set(error, ERROR_FAILED, "out of memory");
}

// ---- The end

static void enter(struct daemon *daemon, enum daemon_state state, uint64_t limit_ms)
{
	daemon->state = state;
	daemon->limit_ns = clock_now_ns() + limit_ms * UINT64_C(1000000);
}

static void end_sessions(struct daemon *daemon, const char *why, uint64_t limit_ms)
{
	enter(daemon, DAEMON_ENDING, limit_ms);
	session_host_end(daemon->sessions, why);
}

static void on_drain_tick(uv_timer_t *timer)
{
	struct daemon *daemon = timer->data;
	char why[80];
	bool late = clock_now_ns() > daemon->limit_ns, empty = session_host_is_empty(daemon->sessions);
	if (empty)
		queries_close(daemon->queries);
	if ((empty && queries_is_empty(daemon->queries)) || (late && daemon->state == DAEMON_ENDING)) {
		uv_stop(&daemon->loop);
	} else if (late) {
		snprintf(why, sizeof(why), "the running step did not end within %u s (--drain-timeout)",
			 daemon->options->drain_timeout_s);
		log_warning("%u sessions are ended: %s", session_host_count(daemon->sessions), why);
		end_sessions(daemon, why, END_TIMEOUT_MS);
	}
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct daemon *daemon = handle->data;
	const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";
	switch (daemon->state) {
	case DAEMON_SERVING:
		log_info("stopping: %s; running steps end first, within %u s", name, daemon->options->drain_timeout_s);
		enter(daemon, DAEMON_DRAINING, daemon->options->drain_timeout_s * UINT64_C(1000));
		systemd_stopping(daemon->systemd);
		queries_drain(daemon->queries);
		session_host_drain(daemon->sessions);
		uv_timer_start(&daemon->drain, on_drain_tick, 0, DRAIN_TICK_MS);
		break;
	case DAEMON_DRAINING:
		log_info("stopping at once: a second signal, %s", name);
		end_sessions(daemon, "a second signal", HURRIED_END_TIMEOUT_MS);
		break;
	case DAEMON_ENDING:
		log_info("stopping without its sessions: one more signal, %s", name);
		uv_stop(&daemon->loop);
		break;
	case DAEMON_CLOSING: // there is nothing left to hurry
		break;
	}
}

static void on_hang_up(uv_signal_t *handle, int number)
{
	struct daemon *daemon = handle->data;
	struct error error;
	if (daemon->state != DAEMON_SERVING) {
		log_info("SIGHUP: not reloaded: the daemon is stopping");
		return;
	}
	systemd_reloading(daemon->systemd);
	if (reload_options(daemon->options, daemon->access, daemon->argc, daemon->argv, &error))
		log_info("reloaded: SIGHUP");
	else
		log_error("not reloaded, all stays as it was: %s", error.message);
	systemd_ready(daemon->systemd);
}

static void describe_status(void *user, char *into, size_t size)
{
	static const char *const stopping[] = {[DAEMON_DRAINING] = "stopping when the running steps have ended",
					       [DAEMON_ENDING] = "stopping",
					       [DAEMON_CLOSING] = "stopping"};
	const struct daemon *daemon = user;
	status_describe(daemon->sessions, stopping[daemon->state], into, size);
}

static void on_tick(uv_timer_t *timer)
{
	struct daemon *daemon = timer->data;
	session_host_tick(daemon->sessions);
	queries_tick(daemon->queries);
	connections_tick();
	if (daemon->http != NULL)
		http_tick(daemon->http);
}

// ---- The beginning

static bool open_devices(struct daemon *daemon, struct error *error)
{
	const struct daemon_options *options = daemon->options;
	struct devices_options devices = {.count = options->device.count,
					  .threads = options->threads,
					  .memory_limit_bytes = options->memory_limit_bytes,
					  .tuning_file = options->tuning_file};
	for (uint32_t i = 0; i < options->device.count; i++)
		devices.names[i] = options->device.values[i];
	return devices_open(&devices, &daemon->devices, error);
}

static bool open_loop(struct daemon *daemon, struct error *error)
{
	int status = uv_loop_init(&daemon->loop);
	if (status != 0)
		return error_set(error, ERROR_FAILED, "the event loop: %s", uv_strerror(status));
	daemon->loop_is_open = true;
	uv_timer_init(&daemon->loop, &daemon->tick);
	uv_timer_init(&daemon->loop, &daemon->drain);
	uv_signal_init(&daemon->loop, &daemon->on_terminate);
	uv_signal_init(&daemon->loop, &daemon->on_interrupt);
	uv_signal_init(&daemon->loop, &daemon->on_hang_up);
	daemon->tick.data = daemon->drain.data = daemon->on_terminate.data = daemon->on_interrupt.data = daemon;
	daemon->on_hang_up.data = daemon;
	daemon->queue = event_queue_create(&daemon->loop);
	return daemon->queue != NULL || error_set(error, ERROR_FAILED, "out of memory");
}

static bool listens_on_socket(const struct daemon_options *options)
{
	for (uint32_t i = 0; i < options->listen.count; i++)
		if (address_is_socket(options->listen.values[i]))
			return true;
	return false;
}

static bool open_services(struct daemon *daemon, struct error *error)
{
	struct session_host_options sessions = {.queue = daemon->queue,
						.devices = daemon->devices,
						.metrics = daemon->metrics,
						.tls = access_tls(daemon->access),
						.dials_sockets = listens_on_socket(daemon->options),
						.limits = daemon->limits,
						.maximum_sessions = daemon->options->maximum_sessions,
						.maximum_message_bytes = daemon->options->maximum_message_bytes};
	daemon->sessions = session_host_create(&sessions);
	struct queries_options queries = {.queue = daemon->queue,
					  .sessions = daemon->sessions,
					  .devices = daemon->devices,
					  .limits = daemon->limits,
					  .maximum_sessions = daemon->options->maximum_sessions,
					  .started_ns = clock_now_ns()};
	daemon->queries = queries_create(&queries);
	struct systemd_options systemd = {
		.loop = &daemon->loop, .queue = daemon->queue, .status = describe_status, .user = daemon};
	daemon->systemd = systemd_create(&systemd);
	return (daemon->sessions != NULL && daemon->queries != NULL && daemon->systemd != NULL) ||
	       error_set(error, ERROR_FAILED, "out of memory");
}

// ---- Limits

static void on_call_began(const char *peer, void *user)
{
	connections_call_began(peer);
}

static void on_call_ended(const char *peer, void *user)
{
	connections_call_ended(peer);
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

static void scrapes_are_full(unsigned connections, void *user)
{
	struct daemon *daemon = user;
	limits_hit(daemon->limits, LIMIT_SCRAPES, "%u connections to --metrics-listen are open: the next ones wait",
		   connections);
}

static bool open_connections(struct daemon *daemon, struct error *error)
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

static bool listen_for_calls(struct daemon *daemon, struct error *error)
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

static bool listen_for_scrapes(struct daemon *daemon, struct error *error)
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

static void close_all(struct daemon *daemon)
{
	connections_drain();
	// Streams end first: their last events need the queue.
	if (daemon->server != NULL)
		rpc_server_stop(daemon->server);
	if (daemon->queue != NULL)
		event_queue_run(daemon->queue);
	rpc_server_destroy(daemon->server);
	if (daemon->rpc_is_started)
		rpc_stop();
	if (daemon->queue != NULL) {
		event_queue_run(daemon->queue);
		event_queue_close(daemon->queue);
	}
	connections_close();
	http_stop(daemon->http);
	systemd_stop(daemon->systemd);
	if (daemon->loop_is_open) {
		uv_close((uv_handle_t *)&daemon->tick, NULL);
		uv_close((uv_handle_t *)&daemon->drain, NULL);
		// The signal handlers stay: without them a second SIGTERM would end an orderly end.
		uv_unref((uv_handle_t *)&daemon->on_terminate);
		uv_unref((uv_handle_t *)&daemon->on_interrupt);
		uv_unref((uv_handle_t *)&daemon->on_hang_up);
		uv_run(&daemon->loop, UV_RUN_DEFAULT);
	}
	http_destroy(daemon->http);
	systemd_destroy(daemon->systemd);
	event_queue_destroy(daemon->queue);
	queries_destroy(daemon->queries);
	session_host_destroy(daemon->sessions);
	device_metrics_destroy(daemon->device_metrics);
	limits_destroy(daemon->limits);
	access_destroy(daemon->access);
	metrics_destroy(daemon->metrics);
	devices_close(daemon->devices);
}

// main holds it back until somebody handles it.
static void release_hang_up(void)
{
	sigset_t hang_up;
	sigemptyset(&hang_up);
	sigaddset(&hang_up, SIGHUP);
	pthread_sigmask(SIG_UNBLOCK, &hang_up, NULL);
}

bool daemon_run(struct daemon_options *options, int argc, char **argv, struct error *error)
{
	static struct daemon daemon; // not on the stack: the signal handlers outlive this call
	daemon = (struct daemon){.options = options, .argc = argc, .argv = argv};
	descriptors_allow_all();  // --max-connections needs them
	signal(SIGPIPE, SIG_IGN); // a reader that went away is a status, not an end
	daemon.metrics = metrics_create();
	bool ok = (daemon.metrics != NULL || error_set(error, ERROR_FAILED, "out of memory")) &&
		  open_connections(&daemon, error) && access_create(options, daemon.metrics, &daemon.access, error) &&
		  open_devices(&daemon, error) && begin_metrics(&daemon, error) && open_loop(&daemon, error) &&
		  open_services(&daemon, error) && listen_for_calls(&daemon, error) &&
		  listen_for_scrapes(&daemon, error);
	if (ok) {
		uv_signal_start(&daemon.on_terminate, on_signal, SIGTERM);
		uv_signal_start(&daemon.on_interrupt, on_signal, SIGINT);
		uv_signal_start(&daemon.on_hang_up, on_hang_up, SIGHUP);
		release_hang_up();
		uv_timer_start(&daemon.tick, on_tick, TICK_MS, TICK_MS);
		ok = announce(options, daemon.server, daemon.http, error);
	}
	if (ok) {
		systemd_ready(daemon.systemd);
		uv_run(&daemon.loop, UV_RUN_DEFAULT);
	}
	daemon.state = DAEMON_CLOSING;
	uint32_t left_over = daemon.sessions != NULL ? session_host_count(daemon.sessions) : 0;
	if (left_over > 0) { // an executor that does not come back from its device: its memory must stay as it is
		log_error("stopped while %u sessions had not ended", left_over);
		_exit(1);
	}
	if (daemon.sessions != NULL) // after a start that failed the port may be open: whoever came is sent away
		session_host_end(daemon.sessions, "");
	close_all(&daemon);
	return ok;
}
