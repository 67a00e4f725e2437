// What a stage takes of its device, from the shapes alone: no device is asked. A daemon counts its own, exactly, when a job opens;
// tests/unit/plan/test_memory.c holds the two side by side. Pure functions; any thread.
#pragma once

#include <stdint.h>

#include "coordinator/plan/plan.h"

// For stage s of `schedule` with layers [stage->first_layer, stage->end_layer): fills the bytes of each kind, the tensors that
// cross its boundaries, and memory_bytes.
void memory_fill(const struct model *model, const struct plan_options *options, const struct schedule *schedule,
		 uint32_t s, struct plan_stage *stage);
