// How a stage failed. Plain data; any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct failure {
	uint32_t code;       // an error_code, unless a peer says nonsense
	const char *message; // borrowed
	uint64_t step;
	bool lost_peer;      // a neighbour's link broke: the cause is there
	uint32_t peer_stage; // with lost_peer: which
	uint32_t peer_replica;
	bool drained; // the daemon is stopping, and `step` was done before: others' reports of it may still come
};
