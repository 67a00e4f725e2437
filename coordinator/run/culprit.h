// Who is to blame when a job breaks: the first sign of trouble may be a symptom, a neighbour's broken link, say. Pure
// data; one thread.
#pragma once

#include "coordinator/plan/plan.h"
#include "coordinator/run/stage_events.h"
#include "coordinator/run/unreachable.h"

// How well an event explains the job's end; the largest wins, the first among equals, except that of two lost peers
// the one that is silent wins over one that itself complains of another.
enum blame {
	BLAME_NOTHING,
	BLAME_LOST_PEER, // a rank says that its neighbour is gone
	BLAME_STREAM,    // a daemon's call ended, and it had not said why
	BLAME_FAILED,    // a rank says what failed in it: nothing explains more
};

struct culprit { // zero at first, but for the plan and the addresses
	const struct plan *plan;
	const char *const *addresses; // [ranks]
	enum blame blame;
	uint32_t rank;
	struct error error;
	uint64_t step;  // at which the rank was; of LOST_PEER and FAILED
	uint32_t peer;  // of LOST_PEER: the rank that is gone; the number of ranks when there is no such rank
	bool was_heard; // of STREAM: it had answered before, so that it was lost and not out of reach
	bool has_spoken[PLAN_MAXIMUM_RANKS];
	uint32_t ended;                 // ranks whose calls ended
	struct unreachable unreachable; // nodes whose calls ended, and from which nothing had come
};

enum job_phase {
	JOB_OPENING,   // daemons are asked to take their stages
	JOB_PREPARING, // all have: parameters are loaded, stages and replicas linked
	JOB_RUNNING,   // steps were ordered
	JOB_SAVING,    // all are done
};

void culprit_accuse(struct culprit *culprit, const struct stage_event *event);
// The job's error. `step` is the first one not done.
void culprit_explain(const struct culprit *culprit, enum job_phase phase, uint64_t step, struct error *ret_error);
