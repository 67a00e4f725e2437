// Hosts that flooded the daemon, and until when no connection of theirs is taken: for a while, which doubles each time. Pure data and
// time. One thread at a time.
#pragma once

#include "stage_server/limits/peer_address.h"

enum {
	PENALTIES_MAXIMUM = 64, // hosts; of more, those that are free again first are forgotten
	PENALTY_FIRST_MS = 5000,
	PENALTY_LONGEST_MS = 80000,
	PENALTY_FORGIVEN_MS = 300000, // after its end: then the next one is a first one
	PENALTY_STRIKES = 128,        // in a second
};

struct penalty {
	struct peer_host host;
	uint64_t until_ns;
	uint32_t length_ms; // 0: there was none yet
	uint64_t window_ns; // in which strikes are counted, its beginning
	uint32_t strikes;
};

struct penalties {
	struct penalty entries[PENALTIES_MAXIMUM];
};

// Begins one; returns its length in ms.
uint32_t penalties_add(struct penalties *penalties, const struct peer_host *host, uint64_t now_ns);
// What is bad only when it is done all the time, such as to come where there is no room. True: that was one too often, and a penalty began.
bool penalties_strike(struct penalties *penalties, const struct peer_host *host, uint64_t now_ns);
bool penalties_hold(const struct penalties *penalties, const struct peer_host *host, uint64_t now_ns);
// Those who have one now; returns how many.
uint32_t penalties_list(const struct penalties *penalties, uint64_t now_ns,
			struct peer_host ret_hosts[PENALTIES_MAXIMUM]);
