// See systemd.h.
#include "stage_server/service/systemd.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "common/base/clock.h"
#include "common/rpc/rpc.h"
#include "stage_server/service/watchdog.h"

enum { STATUS_MS = 1000, SHORTEST_MS = 10 };

struct systemd {
	struct systemd_options options;
	uv_timer_t status_timer, watchdog_timer;
	struct watchdog watchdog;
	struct event ping;
	char status[SYSTEMD_STATUS_SIZE]; // as it was sent last
};

static void send_status(struct systemd *systemd)
{
	char status[SYSTEMD_STATUS_SIZE];
	systemd->options.status(systemd->options.user, status, sizeof(status));
	if (strcmp(status, systemd->status) == 0)
		return;
	strcpy(systemd->status, status);
	sd_notifyf(0, "STATUS=%s", status);
}

static void on_status(uv_timer_t *timer)
{
	send_status(timer->data);
}

static void on_watchdog(uv_timer_t *timer)
{
	struct systemd *systemd = timer->data;
	if (watchdog_is_due(&systemd->watchdog, clock_now_ns()))
		event_queue_post(systemd->options.queue, &systemd->ping);
}

static void on_ping(struct event *event)
{
	struct systemd *systemd = (struct systemd *)((char *)event - offsetof(struct systemd, ping));
	if (watchdog_answer(&systemd->watchdog, rpc_stuck_ns(), clock_now_ns()))
		sd_notify(0, "WATCHDOG=1");
}

struct systemd *systemd_create(const struct systemd_options *options)
{
	struct systemd *systemd = calloc(1, sizeof(*systemd));
	uint64_t timeout_us = 0;
	if (systemd == NULL)
		return NULL;
	systemd->options = *options;
	systemd->ping.handler = on_ping;
	uv_timer_init(options->loop, &systemd->status_timer);
	uv_timer_init(options->loop, &systemd->watchdog_timer);
	systemd->status_timer.data = systemd->watchdog_timer.data = systemd;
	if (sd_watchdog_enabled(0, &timeout_us) > 0) {
		watchdog_init(&systemd->watchdog, timeout_us, clock_now_ns());
		uint64_t tick_ms = timeout_us / 8000; // four looks between two pings, and one a second at least
		tick_ms = tick_ms < SHORTEST_MS ? SHORTEST_MS : tick_ms > STATUS_MS ? STATUS_MS : tick_ms;
		uv_timer_start(&systemd->watchdog_timer, on_watchdog, tick_ms, tick_ms);
	}
	return systemd;
}

void systemd_ready(struct systemd *systemd)
{
	sd_notify(0, "READY=1");
	if (uv_is_active((uv_handle_t *)&systemd->status_timer))
		return;
	send_status(systemd);
	uv_timer_start(&systemd->status_timer, on_status, STATUS_MS, STATUS_MS);
}

void systemd_reloading(struct systemd *systemd)
{
	// The same clock as clock_now_ns: systemd (from 253 on, Type=notify-reload) tells this reload from an earlier one's READY by it.
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_ns() / 1000);
}

void systemd_stopping(struct systemd *systemd)
{
	sd_notify(0, "STOPPING=1");
	send_status(systemd);
}

void systemd_stop(struct systemd *systemd)
{
	if (systemd == NULL)
		return;
	uv_close((uv_handle_t *)&systemd->status_timer, NULL);
	uv_close((uv_handle_t *)&systemd->watchdog_timer, NULL);
}

void systemd_destroy(struct systemd *systemd)
{
	free(systemd);
}
