// When systemd may be told that the daemon is alive. Pure data and time, so that its rule can be tested; systemd.c feeds it.
//
// A loop that turns is not enough: what the daemon does comes through its event queue, so each ping is an event there first, and is sent
// when that event is handled, behind all that was posted before it; and the network's threads, whose callbacks never block, must not
// be stuck in one. A device that does not come back from a call does not count: it is one stage's trouble, which is reported
// (STATUS, penstock_stalled_stages), and a restart would end all other jobs of this daemon, too.
//
// Threads: one, the loop's.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct watchdog {
	uint64_t interval_ns; // between pings: half of what systemd waits; 0: it does not wait for any
	uint64_t pinged_ns;   // when the last ping was sent
	bool asked;           // an event is on its way through the queue
};

void watchdog_init(struct watchdog *watchdog, uint64_t timeout_us, uint64_t now_ns); // 0: there is none
// To be called often. True: post the event.
bool watchdog_is_due(struct watchdog *watchdog, uint64_t now_ns);
// The event was handled. True: send the ping. `stuck_ns`: how long one of the network's threads has been in its callback.
bool watchdog_answer(struct watchdog *watchdog, uint64_t stuck_ns, uint64_t now_ns);
