// ds_config.json as DeepSpeed documents it: the keys we honour, with DeepSpeed's defaults; others are collected for one
// warning.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/model/optimizer.h"
#include "coordinator/config/learning_rate.h"

struct deepspeed_config {
	// 0: not given. deepspeed_config_resolve_batch fills all three.
	uint32_t train_batch_size, micro_batch_size, gradient_accumulation_steps;
	struct optimizer optimizer;
	float learning_rate, beta1 /* momentum for SGD */, beta2;
	struct learning_rate_schedule schedule;
	double gradient_clipping; // of the global norm; 1.0, as DeepSpeed's; 0: off
	uint32_t steps_per_print; // 10
	bool wall_clock_breakdown;
	char unknown_keys[512]; // "zero_optimization, fp16.enabled": for one warning; "" when none
};

void deepspeed_config_init(struct deepspeed_config *ret_config); // the defaults: SGD, lr 1e-3 ...
// Malformed JSON is reported with file, line and column; a wrong type with the key's whole name.
bool deepspeed_config_read(const char *path, struct deepspeed_config *ret_config, struct error *error);
// train_batch_size = micro_batch_size * gradient_accumulation_steps * data_parallel_size: any two give the third (and
// one alone as DeepSpeed does); a mismatch is refused with all the numbers.
// Untouched on failure.
bool deepspeed_config_resolve_batch(struct deepspeed_config *config, uint32_t data_parallel_size, struct error *error);
