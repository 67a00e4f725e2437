// At most one line in ten seconds about a thing that peers can make happen at will; the line says how often it did meanwhile.
// Any thread.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { LOG_RATE_INTERVAL_S = 10 };

// Embedded; all zero in the beginning.
struct log_rate {
	_Atomic(uint64_t) logged_ns, unlogged; // when it was logged, and how often it was not since
};

// It happened, at `now_ns` of clock_now_ns. True: it is to be logged, and `*ret_unlogged` were not since the last time.
bool log_rate_allows(struct log_rate *rate, uint64_t now_ns, uint64_t *ret_unlogged);
