// Who is to blame when a job breaks: the first sign of trouble may be a symptom, a neighbour's broken link, say. Pure
// data; one thread.
#pragma once

#include "common/schedule/schedule.h"
#include "coordinator/run/stage_events.h"

// How well an event explains the job's end; the largest wins, the first among equals.
enum blame {
	BLAME_NOTHING,
	BLAME_LOST_PEER, // a stage says that its neighbour is gone
	BLAME_STREAM,    // a daemon's call ended, and it had not said why
	BLAME_FAILED,    // a stage says what failed in it: nothing explains more
};

struct culprit { // zero at first
	enum blame blame;
	uint32_t stage;
	struct error error;
	uint64_t step;       // at which the stage was; of LOST_PEER and FAILED
	uint32_t peer_stage; // of LOST_PEER
	bool has_spoken[SCHEDULE_MAXIMUM_STAGES];
};

enum job_phase {
	JOB_OPENING,   // daemons are asked to take their stages
	JOB_PREPARING, // all have: parameters are loaded, stages linked
	JOB_RUNNING,   // steps were ordered
	JOB_SAVING,    // all are done
};

void culprit_accuse(struct culprit *culprit, const struct stage_event *event);
// The job's error. `addresses` [stages]; `step` is the first one not done.
void culprit_explain(const struct culprit *culprit, const char *const *addresses, uint32_t stages, enum job_phase phase,
		     uint64_t step, struct error *ret_error);
