// What a pipeline is held against: the same training without a pipeline. Pure; any thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "coordinator/plan/plan.h"

// The same network, samples and optimizer on one device: one micro-batch after another, and every activation kept. With replicas, as
// many of them, since their number decides the order of sums. Returns owned. Both plans ask for gradient norms from now on, for which
// stages wait for the factor that clips their gradients; without clipping it is exactly 1, and changes no bit.
bool reference_plan(struct plan *pipeline, struct plan **ret_reference, struct error *error);
