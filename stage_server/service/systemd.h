// What systemd is told, by sd_notify(3): that the daemon is ready, what it does, that it reloads, that it stops, and, where the unit has a
// WatchdogSec, that it makes progress (watchdog.h). Without $NOTIFY_SOCKET all of it does nothing.
//
// Threads: the loop's.
#pragma once

#include <uv.h>

#include "common/base/error.h"
#include "stage_server/session/event_queue.h"

enum { SYSTEMD_STATUS_SIZE = 256 };

struct systemd_options {
	uv_loop_t *loop;
	struct event_queue *queue;
	// What the daemon does now, for `systemctl status`; asked once a second, and sent when it has changed.
	void (*status)(void *user, char *into, size_t size);
	void *user;
};

struct systemd;

struct systemd *systemd_create(const struct systemd_options *options); // NULL when memory is out
void systemd_ready(struct systemd *systemd);                           // serves; also the end of a reload
void systemd_reloading(struct systemd *systemd);
void systemd_stopping(struct systemd *systemd);
void systemd_stop(struct systemd *systemd);    // takes NULL; the loop must run once more, after the queue's last event
void systemd_destroy(struct systemd *systemd); // after that; takes NULL
