// What running stages do per second: the differences between what their daemons had counted at two rounds of asking.
//
// Times are the daemons' own. What a stage did is counted step by step, so its shares are those of whole steps: from the end of the last step
// that was known at one round to the end of the last one known at a later round, and they stay until another step has ended. Until there
// are two such ends, they are the mean of the session's steps. Bytes are counted as they come and go, so their rates are those between the last two
// rounds. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/job/node.h"
#include "common/metrics/phases.h"

enum rates_side { RATES_PREVIOUS, RATES_NEXT, RATES_PREVIOUS_REPLICA, RATES_NEXT_REPLICA, RATES_SIDE_COUNT };

struct rates_link {
	bool exists, known;    // known: asked at least twice
	double sent, received; // bytes per second
};

struct rates_stage {
	// Borrowed from the answer; they may hold anything.
	const char *job, *model, *device;
	const char *address; // borrowed from whoever asked
	uint32_t pipeline_stage, replica;
	uint64_t step, memory_bytes, limit_bytes;
	bool known; // a step has ended: the next three
	double share
		[PHASE_COUNT]; // of the time; where a device computes while its stage waits, they add up to more than 1
	double samples_per_second;
	double seconds_since_step;
	struct rates_link links[RATES_SIDE_COUNT];
};

enum { RATES_MAXIMUM_STAGES = 256 }; // of one daemon; more are left out

struct rates;

struct rates *rates_create(uint32_t nodes); // NULL when memory is out
void rates_destroy(struct rates *rates);    // takes NULL
// What node `index` answered this round; NULL: nothing, and what was known of it is forgotten. The answer is borrowed until the next update
// of this node. False when memory is out.
bool rates_update(struct rates *rates, uint32_t index, const char *address, const struct node_description *answer);
// Those of one node, in its own order.
const struct rates_stage *rates_stages(const struct rates *rates, uint32_t index, uint32_t *ret_count);
uint32_t rates_nodes(const struct rates *rates);
