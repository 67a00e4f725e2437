// What devices do differently with a stage's memory: a table a device, filled in memory_cpu.c and memory_cuda.c, and what those need of
// memory.c, which counts by it. A number here follows what the device's own code lays out, and changes with it. Pure; any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/plan/plan.h"

struct memory_rules;

// The stage that is counted.
struct memory_context {
	const struct memory_rules *rules;
	const struct model *model;
	const struct plan_options *options;
	const struct plan_stage *stage;
	uint64_t element; // bytes
};

struct memory_rules {
	uint64_t tensor_unit, region_unit; // bytes to which a tensor, and a region of tensors, is rounded up
	// The stage's input as it is kept, of one sample.
	struct shape (*input)(const struct memory_context *c);
	// What a flattening and an adaptive average pool, layer i of the model, leave for the backward pass beside their input.
	uint64_t (*kept_of_flatten)(const struct memory_context *c, uint32_t i);
	uint64_t (*kept_of_average_pool)(const struct memory_context *c, uint32_t i);
	// Whether the ReLU, layer i, is computed in its input's place, and not by the layer before.
	bool (*relu_is_in_place)(const struct memory_context *c, uint32_t i);
	// Beside the gradients that flow back, and what is computed again.
	uint64_t (*workspace)(const struct memory_context *c);
	bool run_ends_are_kept; // with checkpoints: the last output of each run, and not with what is computed again
	bool recomputes_in_workspace; // and not in the stash
	bool keeps_labels;            // in the stash of the last stage, a byte a sample
	bool holds_exchange;          // buffers of the exchange; else the host does
};

extern const struct memory_rules memory_cpu, memory_cuda;

static inline uint64_t memory_larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t memory_block(const struct memory_context *c, uint64_t bytes);      // what a tensor of so many takes
uint64_t memory_tensor(const struct memory_context *c, struct shape shape); // one a micro-batch, in the compute type
uint64_t memory_weight_bytes(const struct layer *layer);
uint64_t memory_bias_bytes(const struct layer *layer);
bool memory_is_last(const struct memory_context *c); // of the model's stages
