// The optimizers' settings, as PyTorch and DeepSpeed name them; the arithmetic is each device's. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum optimizer_kind {
	OPTIMIZER_SGD,
	OPTIMIZER_ADAM,
	OPTIMIZER_ADAMW,
	OPTIMIZER_LAMB,
	OPTIMIZER_LION,
	OPTIMIZER_ADAGRAD,
	OPTIMIZER_COUNT,
};

// Zeros are valid settings of every optimizer but Lamb, whose coefficients need a range.
struct optimizer {
	enum optimizer_kind kind;
	float weight_decay;
	float dampening;  // SGD
	bool nesterov;    // SGD
	bool no_momentum; // SGD: every step's momentum is 0, and no buffer is kept for it
	float epsilon;    // Adam, AdamW, Lamb, Adagrad
	// Lamb
	bool epsilon_inside_root;
	bool no_bias_correction;
	float minimum_coefficient, maximum_coefficient; // of a tensor's norm over its update's norm
};

// What may change from step to step.
struct optimizer_step {
	uint64_t step; // from 0; bias correction uses step + 1
	float learning_rate;
	float beta1;          // SGD: momentum; Adagrad: of no meaning
	float beta2;          // Adam, AdamW, Lamb, Lion
	float gradient_scale; // multiplies every gradient first (clipping); 1 otherwise
};

const char *optimizer_name(enum optimizer_kind kind);                  // "SGD", "Adam", "AdamW", ...
bool optimizer_parse(const char *name, enum optimizer_kind *ret_kind); // any case
// "SGD, Adam, ... and Adagrad": for messages and --help.
const char *optimizer_names(void);
bool optimizer_has_betas(enum optimizer_kind kind); // two; SGD's momentum is none
// DeepSpeed's settings where a file names the optimizer alone, with an epsilon that fits float32; of SGD PyTorch's.
void optimizer_defaults(enum optimizer_kind kind, struct optimizer *ret_optimizer);
// State tensors, each as large as the parameters: Adam, AdamW and Lamb 2, Lion and Adagrad 1, SGD 1 (the momentum buffer) or 0.
uint32_t optimizer_state_tensors(const struct optimizer *optimizer);
