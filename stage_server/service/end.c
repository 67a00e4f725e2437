// How the daemon stops: what SIGTERM and SIGINT begin, and what ends it. docs/service.md says what its users see of it.
#include <signal.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "stage_server/service/internal.h"

enum { DRAIN_TICK_MS = 20 };

// How long sessions that were ended, not drained, may take to come back from their device, and how long when somebody is impatient.
enum { END_TIMEOUT_MS = 8000, HURRIED_END_TIMEOUT_MS = 2000 };

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
		uint32_t count = session_host_count(daemon->sessions);
		log_warning("aborting %u session%s: %s", count, strings_plural(count), why);
		end_sessions(daemon, why, END_TIMEOUT_MS);
	}
}

void daemon_terminate(struct daemon *daemon, int number)
{
	const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";
	switch (daemon->state) {
	case DAEMON_SERVING:
		log_info("stopping: %s; running steps end first, within %u s", name, daemon->options->drain_timeout_s);
		enter(daemon, DAEMON_DRAINING, daemon->options->drain_timeout_s * UINT64_C(1000));
		systemd_stopping(daemon->systemd);
		ready_file_remove(&daemon->ready_file);
		queries_drain(daemon->queries);
		session_host_drain(daemon->sessions);
		uv_timer_start(&daemon->drain, on_drain_tick, 0, DRAIN_TICK_MS);
		break;
	case DAEMON_DRAINING:
		log_info("stopping now: second signal, %s", name);
		end_sessions(daemon, "a second signal", HURRIED_END_TIMEOUT_MS);
		break;
	case DAEMON_ENDING:
		log_info("exiting without waiting for the sessions: third signal, %s", name);
		uv_stop(&daemon->loop);
		break;
	case DAEMON_CLOSING: // there is nothing left to hurry
		break;
	}
}
