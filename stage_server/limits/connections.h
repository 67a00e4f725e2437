// The connections that gRPC's listeners accept: how many are open, no more than allowed, and why the daemon closed one.
//
// gRPC's C API has no limit of connections and tells of none, its listener stops for good when accept fails for want of a descriptor, and
// it makes a call of each stream that a client begins, however many it resets. So the four system calls that a connection's life consists
// of pass through here: connections.c defines accept4, recvmsg, shutdown and close, which the dynamic linker prefers to the C library's
// in all of the process, gRPC included.
// docs/rationale.md has what was rejected. Before connections_open and after connections_close they change nothing.
//
// Any thread, but connections_open, _tick and _close are one thread's. There is one of it in a process.
#pragma once

#include <stdint.h>

#include "common/base/error.h"
#include "stage_server/limits/limits.h"

struct connections_options {
	struct limits *limits;
	struct metrics *metrics;
	uint32_t maximum;         // at once
	uint32_t maximum_streams; // on one connection; enforced by gRPC, counted here
	// What gRPC was told: a connection that it closes after so long, was closed for that.
	uint32_t idle_timeout_ms, handshake_timeout_ms;
};

bool connections_open(const struct connections_options *options, struct error *error); // before any listener
void connections_leave_alone(int listener); // its connections are another's affair: the scrape's
bool connections_call_began(
	const char *peer); // false: its connection was cut off, and all that it began is to be dropped
void connections_call_ended(const char *peer, bool cancelled); // of those that were not dropped
void connections_tick(void);                                   // once a second
void connections_drain(void); // from here on, what is closed is closed for the daemon's end
void connections_close(void); // after the server stopped
