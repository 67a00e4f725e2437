// The signals that the daemon hears: SIGTERM, SIGINT and SIGHUP. They are read on the loop (signalfd(2)), not handled where they
// strike: that could be any of gRPC's or the device's threads, inside a library that is in the middle of something.
//
// Threads: the loop's.
#pragma once

#include <uv.h>

#include "common/base/error.h"

struct signals;

// In this thread, and in all that it begins from here on, none of them strikes: they wait until they are read, and those that nobody
// reads any more change nothing. Before the first thread is begun.
void signals_hold(void);
// `heard` is called for each; several of one kind that came at once count as one. Returns owned.
bool signals_open(uv_loop_t *loop, void (*heard)(int number, void *user), void *user, struct signals **ret_signals,
		  struct error *error);
void signals_close(struct signals *signals);   // takes NULL; the loop must run once more
void signals_destroy(struct signals *signals); // after that; takes NULL
