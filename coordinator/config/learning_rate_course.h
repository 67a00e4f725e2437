// Whether a schedule stays within the range of its settings, over all steps of a run.
#pragma once

#include "common/base/error.h"
#include "coordinator/config/learning_rate.h"

// As the optimizer gets the values, in float: each rate is finite and not negative; a momentum that the schedule changes is a beta, from 0 to
// below 1. Otherwise the error (ERROR_USAGE) names the first such step, counted from 1 as in the progress, and the value.
bool learning_rate_check_course(const struct learning_rate_schedule *schedule, double base_lr, double base_momentum,
				uint64_t steps, struct error *error);
