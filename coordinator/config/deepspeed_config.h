// ds_config.json as DeepSpeed documents it: the keys we honour, with DeepSpeed's defaults; others are collected for one
// warning.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/model/data_type.h"
#include "common/model/optimizer.h"
#include "coordinator/config/learning_rate.h"

enum { DEEPSPEED_MAXIMUM_CHECKPOINT_INTERVAL = 65536 };

// Keeps gradients within float16's range: the loss is multiplied by a scale, and the gradients are divided by it.
struct loss_scaling {
	bool dynamic; // false: `scale` throughout, and nothing below counts
	double scale; // of the first step
	double minimum;
	uint32_t window;             // after so many steps without an overflow the scale doubles
	uint32_t hysteresis;         // after so many overflows the scale is halved
	bool consecutive_hysteresis; // a step without overflow sets that count back
};

struct deepspeed_config {
	// 0: not given. deepspeed_config_resolve_batch fills all three.
	uint32_t train_batch_size, micro_batch_size, gradient_accumulation_steps;
	struct optimizer optimizer;
	float learning_rate, beta1 /* momentum for SGD */, beta2;
	struct learning_rate_schedule schedule;
	double gradient_clipping; // of the global norm; 1.0, as DeepSpeed's; 0: off
	uint32_t steps_per_print; // 10
	bool wall_clock_breakdown;
	enum data_type compute_type, communication_type; // the second: of tensors that cross a boundary
	bool allow_tf32;                                 // with float32; products may be rounded to TF32
	struct loss_scaling loss_scaling;                // of float16
	uint32_t checkpoint_interval;                    // layers between kept activations; 0: all are kept
	char unknown_keys[512]; // "zero_optimization, fp16.enabled": for one warning; "" when none
};

// Options of the command line that replace keys of the file. Each means the same as its key, and values that are derived from
// the key are derived from the option. 0, NULL, NAN and -1: not given.
struct deepspeed_overrides {
	// Two of them give the third, and the file's value of that is ignored. With one of them and both others in the file, the
	// micro-batch stays and the train batch is computed; with the train batch, gradient_accumulation_steps is computed.
	uint32_t train_batch_size, micro_batch_size, gradient_accumulation_steps;
	const char *optimizer; // a name that optimizer_parse knows
	double learning_rate, momentum, weight_decay;
	const char *precision;          // "fp32", "tf32", "bf16", "fp16", in any case
	const char *communication_type; // a name that data_type_parse knows
	int64_t checkpoint_interval;
};

void deepspeed_overrides_init(struct deepspeed_overrides *ret_overrides); // nothing is given
// All mistakes are reported at once, with file, line and column, and the key's whole name: those of syntax, or those of values.
// `overrides` may be NULL. Without a file (`path` NULL) the optimizers are PyTorch's by name and default, nothing is clipped, and a step is
// 4 micro-batches of 32 unless `overrides` gives one of the batch sizes.
bool deepspeed_config_read(const char *path, const struct deepspeed_overrides *overrides,
			   struct deepspeed_config *ret_config, struct error *error);
// train_batch_size = micro_batch_size * gradient_accumulation_steps * data_parallel_size: any two give the third (and
// one alone as DeepSpeed does); a mismatch is refused with all the numbers.
// Untouched on failure.
bool deepspeed_config_resolve_batch(struct deepspeed_config *config, uint32_t data_parallel_size, struct error *error);
