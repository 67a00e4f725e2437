// What a generator needs. A new schedule is one new file like gpipe.c and one row in schedule.c's table.
#pragma once

#include "common/schedule/schedule.h"

// Lists are built by appending; memory is there already (schedule_create knows how much a step can have).
void schedule_append(struct stage_schedule *list, enum instruction_kind kind, uint32_t micro_batch);
// Everything that the forward or backward pass of a micro-batch needs around it: input, receive, compute, send.
void schedule_append_forward(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batch);
void schedule_append_backward(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batch);

// Fills instructions (but not the two that end each step) and slots of one stage.
void gpipe_generate(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches);
void one_f_one_b_generate(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches);
