// See daemon.h. Its files are in internal.h.
#include "stage_server/service/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/address.h"
#include "common/base/clock.h"
#include "common/base/descriptors.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "stage_server/limits/connections.h"
#include "stage_server/service/announce.h"
#include "stage_server/service/internal.h"
#include "stage_server/service/reload.h"
#include "stage_server/service/status.h"

_Static_assert((int)OPTION_LIST_MAXIMUM == (int)DEVICES_MAXIMUM, "every --device has its slot");

enum { TICK_MS = 1000 };

static const struct metric_family build_info = {"penstock_build_info", "The daemon's version, as labels; always 1.",
						METRIC_GAUGE, 1.0};
static const struct metric_family start_time = {"penstock_start_time_seconds", "Unix time at which the daemon started.",
						METRIC_GAUGE, 1.0};

// ---- While it runs

static void hang_up(struct daemon *daemon)
{
	struct error error;
	if (daemon->state != DAEMON_SERVING) {
		log_info("SIGHUP: not reloaded: the daemon is stopping");
		return;
	}
	systemd_reloading(daemon->systemd);
	if (reload_options(daemon->options, daemon->access, daemon->argc, daemon->argv, &error))
		log_info("reloaded: SIGHUP");
	else
		log_error("not reloaded, nothing has changed: %s", error.message);
	systemd_ready(daemon->systemd);
}

static void on_signal(int number, void *user)
{
	struct daemon *daemon = user;
	if (number == SIGHUP)
		hang_up(daemon);
	else
		daemon_terminate(daemon, number);
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

static bool begin_metrics(struct daemon *daemon, struct error *error)
{
	char labels[160];
	snprintf(labels, sizeof(labels), "version=\"%s\",protocol_version=\"%d\"", PENSTOCK_VERSION, PROTOCOL_VERSION);
	metric_set(metrics_series(daemon->metrics, &build_info, labels), 1);
	metric_set(metrics_series(daemon->metrics, &start_time, ""), (uint64_t)time(NULL));
	daemon->device_metrics = device_metrics_create(daemon->devices, daemon->metrics);
	return daemon->device_metrics != NULL || error_set(error, ERROR_FAILED, "out of memory");
}

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
		return error_set(error, ERROR_FAILED, "start the event loop: %s", uv_strerror(status));
	daemon->loop_is_open = true;
	uv_timer_init(&daemon->loop, &daemon->tick);
	uv_timer_init(&daemon->loop, &daemon->drain);
	daemon->tick.data = daemon->drain.data = daemon;
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

// ---- The whole

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
	signals_close(daemon->signals);
	if (daemon->loop_is_open) {
		uv_close((uv_handle_t *)&daemon->tick, NULL);
		uv_close((uv_handle_t *)&daemon->drain, NULL);
		uv_run(&daemon->loop, UV_RUN_DEFAULT);
		uv_loop_close(&daemon->loop);
	}
	http_destroy(daemon->http);
	signals_destroy(daemon->signals);
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

bool daemon_run(struct daemon_options *options, int argc, char **argv, struct error *error)
{
	struct daemon daemon = {.options = options, .argc = argc, .argv = argv};
	ready_file_begin(&daemon.ready_file, options->ready_file);
	signals_hold();
	descriptors_allow_all();  // --max-connections needs them
	signal(SIGPIPE, SIG_IGN); // a reader that went away is a status, not an end
	daemon.metrics = metrics_create();
	bool ok = (daemon.metrics != NULL || error_set(error, ERROR_FAILED, "out of memory")) &&
		  daemon_open_connections(&daemon, error) &&
		  access_create(options, daemon.metrics, &daemon.access, error) && open_devices(&daemon, error) &&
		  begin_metrics(&daemon, error) && open_loop(&daemon, error) &&
		  signals_open(&daemon.loop, on_signal, &daemon, &daemon.signals, error) &&
		  open_services(&daemon, error) && daemon_listen_for_calls(&daemon, error) &&
		  daemon_listen_for_scrapes(&daemon, error);
	if (ok) {
		uv_timer_start(&daemon.tick, on_tick, TICK_MS, TICK_MS);
		ok = announce(options, daemon.server, daemon.http, error);
	}
	if (ok) {
		ready_file_note(&daemon.ready_file);
		systemd_ready(daemon.systemd);
		uv_run(&daemon.loop, UV_RUN_DEFAULT);
	}
	daemon.state = DAEMON_CLOSING;
	ready_file_remove(&daemon.ready_file);
	uint32_t left_over = daemon.sessions != NULL ? session_host_count(daemon.sessions) : 0;
	if (left_over > 0) { // an executor that does not come back from its device: its memory must stay as it is
		log_error("stopped while %u session%s had not ended", left_over, strings_plural(left_over));
		_exit(1);
	}
	if (daemon.sessions != NULL) // after a start that failed the port may be open: whoever came is sent away
		session_host_end(daemon.sessions, "");
	close_all(&daemon);
	return ok;
}
