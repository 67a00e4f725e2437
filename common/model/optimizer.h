// The optimizers' settings as PyTorch names them; the arithmetic is each device's. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum optimizer_kind { OPTIMIZER_SGD, OPTIMIZER_ADAM, OPTIMIZER_ADAMW, OPTIMIZER_COUNT };

struct optimizer {
	enum optimizer_kind kind;
	float weight_decay;
	float dampening; // SGD
	bool nesterov;   // SGD
	float epsilon;   // Adam, AdamW
};

// What may change from step to step.
struct optimizer_step {
	uint64_t step; // from 0; bias correction uses step + 1
	float learning_rate;
	float beta1;          // SGD: momentum
	float beta2;          // Adam, AdamW
	float gradient_scale; // multiplies every gradient first (clipping); 1 otherwise
};

const char *optimizer_name(enum optimizer_kind kind);                  // "SGD", "Adam", "AdamW"
bool optimizer_parse(const char *name, enum optimizer_kind *ret_kind); // any case
// State tensors, each as large as the parameters: SGD 1 (momentum buffer), Adam and AdamW 2.
uint32_t optimizer_state_tensors(enum optimizer_kind kind);
