// DeepSpeed's learning-rate schedules: WarmupLR, WarmupDecayLR, OneCycle. Pure functions of the step.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum learning_rate_kind {
	LEARNING_RATE_CONSTANT,
	LEARNING_RATE_WARMUP,
	LEARNING_RATE_WARMUP_DECAY,
	LEARNING_RATE_ONE_CYCLE
};

struct learning_rate_schedule {
	enum learning_rate_kind kind;
	// WarmupLR, WarmupDecayLR
	double warmup_min_lr, warmup_max_lr;
	uint32_t warmup_num_steps;
	bool warmup_linear; // warmup_type "linear"; otherwise "log", DeepSpeed's default
	uint32_t total_num_steps;
	// OneCycle
	double cycle_min_lr, cycle_max_lr, decay_lr_rate;
	uint32_t cycle_first_step_size, cycle_second_step_size; // second 0: as the first
	uint32_t cycle_first_stair_count, cycle_second_stair_count, decay_step_size;
	bool cycle_momentum;
	double cycle_min_mom, cycle_max_mom, decay_mom_rate;
};

struct learning_rate_value {
	double learning_rate;
	double momentum; // beta1
};

// For optimizer step `step` (from 0), as DeepSpeed's engine applies it: base values where the schedule is constant.
struct learning_rate_value learning_rate_at(const struct learning_rate_schedule *schedule, uint64_t step,
					    double base_lr, double base_momentum);
