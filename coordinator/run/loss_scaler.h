// The scale of the loss in float16, step by step, as DeepSpeed's DynamicLossScaler has it
// (deepspeed/runtime/fp16/loss_scaler.py): where a gradient overflowed, the step is skipped and the scale halved, once the
// hysteresis is used up; after a window of steps without, it doubles. Pure state; one thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/config/deepspeed_config.h"

// Steps skipped in a row with a scale that cannot fall, after which a job is hopeless. DeepSpeed gives up at the first one; but
// one bad batch is no reason to lose a run.
enum { LOSS_SCALER_PATIENCE = 50 };

struct loss_scaler {
	struct loss_scaling settings;
	double scale;          // of the next step
	uint64_t steps;        // seen
	uint64_t stable_since; // the step after the last overflow
	uint32_t hysteresis;   // overflows left until the scale falls, this one included
	uint64_t skipped;      // steps with an overflow
	uint32_t stuck;        // of those, the last ones in a row in which the scale should have fallen and could not
};

void loss_scaler_init(struct loss_scaler *scaler, const struct loss_scaling *settings);
// After each step's gradients: did one overflow? Sets the scale of the next step.
void loss_scaler_update(struct loss_scaler *scaler, bool overflow);
