// Whether a job makes progress. A daemon may be alive, answer heartbeats and never report: then no rank moves any more, and the job would
// wait for ever. Pure data and time; one thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	PROGRESS_FACTOR = 10,        // times the longest stretch without progress so far, that a job may be without
	PROGRESS_OPENING_FACTOR = 3, // times the floor: kernels may be timed while a stage is opened
};

struct progress {
	uint64_t floor_ms; // the least limit; 0: there is none
	uint64_t last_ns;  // when any rank was last seen to move; 0: not yet
	uint64_t longest_ns;
};

// A rank was last seen to move at `moved_ns`. With `is_measured`, what passed since the movement before counts among the stretches from
// which the limit follows: steps are measured, since one is like the other.
void progress_note(struct progress *progress, uint64_t moved_ns, bool is_measured);
// How long the job may be without progress, in ms; UINT64_MAX: for ever.
uint64_t progress_limit_ms(const struct progress *progress, bool is_opening);

// Of a rank, for the choice of the one that holds the others up.
struct progress_rank {
	bool is_awaited;    // what the job waits for is still to come from it
	uint64_t device_ns; // how long its device has run one instruction, as it says; 0: it waits itself
	uint64_t moved_ns;
};

// Of the awaited ranks the one whose device is busy longest; where none is busy, the one that stood still first. `count` where
// none is awaited.
uint32_t progress_find_holder(const struct progress_rank *ranks, uint32_t count);
