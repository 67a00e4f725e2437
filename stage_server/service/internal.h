// What the files of the daemon share: daemon.c (from start to end), listen.c (where it listens, and for what) and end.c (how it stops).
// Loop's thread.
#pragma once

#include <uv.h>

#include "common/http/http.h"
#include "common/rpc/rpc.h"
#include "stage_server/service/access.h"
#include "stage_server/service/daemon.h"
#include "stage_server/service/device_metrics.h"
#include "stage_server/service/queries.h"
#include "stage_server/service/ready_file.h"
#include "stage_server/service/signals.h"
#include "stage_server/service/systemd.h"
#include "stage_server/session/session.h"

enum daemon_state {
	DAEMON_SERVING,
	DAEMON_DRAINING, // no new sessions; those that run end their running step
	DAEMON_ENDING,   // all sessions were ended
	DAEMON_CLOSING,  // the loop has stopped
};

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
	struct signals *signals;
	struct ready_file ready_file;
	enum daemon_state state;
	uint64_t limit_ns; // of the state
	bool loop_is_open, rpc_is_started;
};

// listen.c
bool daemon_open_connections(struct daemon *daemon, struct error *error); // before any listener
bool daemon_listen_for_calls(struct daemon *daemon, struct error *error);
bool daemon_listen_for_scrapes(struct daemon *daemon, struct error *error);

// end.c
void daemon_terminate(struct daemon *daemon, int number); // SIGTERM or SIGINT came
