// How long a step of a schedule takes, from the time of each stage's passes: tensors cross boundaries in no time, and a stage waits
// for nothing but a tensor that has not come. Pure functions; any thread.
#pragma once

#include <stdbool.h>

#include "common/schedule/schedule.h"

struct simulate_stage {
	double forward, backward; // of a micro-batch, in any unit of time; backward with what it computes again
};

struct simulate_result { // in that unit
	double step;     // until the last stage's last pass is done
	double busy[SCHEDULE_MAXIMUM_STAGES];
	double waiting[SCHEDULE_MAXIMUM_STAGES]; // step - busy
	double bubble;                           // the mean of waiting / step
};

// `schedule` has passed schedule_check; `stages` has one for each of its stages. False, with ERROR_FAILED, when memory is out.
bool simulate(const struct schedule *schedule, const struct simulate_stage *stages, struct simulate_result *ret_result,
	      struct error *error);
