// How the replicas of a job sum their gradients: around a ring, or in a group of their devices (--reduce). Between rpc_start and
// rpc_stop. One thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "coordinator/command/job_arguments.h"
#include "coordinator/command/job_nodes.h"
#include "coordinator/plan/plan.h"

// Asks the daemons of `place` where there are replicas and the answer matters. auto: in a group where all devices have the same way,
// and no stage has two replicas on one device; whatever else is wrong with a daemon, the job's beginning says. nccl: ERROR_USAGE names
// the first that cannot, ERROR_UNREACHABLE all nodes that do not answer.
bool job_reduction_choose(const struct job_arguments *arguments, const struct plan *plan, const struct job_place *place,
			  bool *ret_in_group, struct error *error);
