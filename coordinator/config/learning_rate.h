// DeepSpeed's learning-rate schedules as pure functions of the step.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum learning_rate_kind {
	LEARNING_RATE_CONSTANT,
	LEARNING_RATE_WARMUP,
	LEARNING_RATE_WARMUP_DECAY,
	LEARNING_RATE_WARMUP_COSINE,
	LEARNING_RATE_RANGE_TEST,
	LEARNING_RATE_ONE_CYCLE,
	LEARNING_RATE_KINDS
};

struct learning_rate_schedule {
	enum learning_rate_kind kind;
	// WarmupLR, WarmupDecayLR, WarmupCosineLR
	double warmup_min_lr, warmup_max_lr;    // the peak of WarmupCosineLR is the optimizer's rate
	double warmup_min_ratio, cos_min_ratio; // WarmupCosineLR: of the peak
	uint32_t warmup_num_steps;
	bool warmup_linear; // warmup_type "linear"; otherwise "log", DeepSpeed's default
	uint32_t total_num_steps;
	// LRRangeTest
	double range_test_min_lr, range_test_step_rate;
	uint32_t range_test_step_size;
	bool range_test_staircase;
	// OneCycle
	double cycle_min_lr, cycle_max_lr, decay_lr_rate;
	uint32_t cycle_first_step_size, cycle_second_step_size;
	uint32_t cycle_first_stair_count, cycle_second_stair_count, decay_step_size;
	bool cycle_momentum;
	double cycle_min_mom, cycle_max_mom, decay_mom_rate;
};

struct learning_rate_value {
	double learning_rate;
	double momentum; // beta1
};

const char *learning_rate_name(enum learning_rate_kind kind); // "WarmupLR"; "" for a constant rate
// For optimizer step `step` (from 0), as DeepSpeed's engine applies it: base values where the schedule is constant.
struct learning_rate_value learning_rate_at(const struct learning_rate_schedule *schedule, uint64_t step,
					    double base_lr, double base_momentum);
