// How a schedule's file hands its lists to schedule.c. Private to this folder.
#pragma once

#include "common/schedule/schedule.h"

// Append to a list whose memory schedule.c reserved: a micro-batch's input, forward and what is sent on; its gradient, backward and what is
// sent back.
void generator_add_forward(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batch);
void generator_add_backward(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batch);

// Each sets the stage's slots, `most` at most (from 1), and appends its forwards and backwards; the step's end is added by the
// caller.
void gpipe_generate(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches,
		    uint32_t most);
void one_f_one_b_generate(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches,
			  uint32_t most);
