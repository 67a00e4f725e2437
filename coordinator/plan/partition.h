// Cuts a list of layers into contiguous, non-empty stages.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/model/model.h"

// What a stage would need, which depends on its place in the pipeline.
struct partition_memory {
	uint64_t (*bytes)(const void *user, uint32_t stage, uint32_t first_layer, uint32_t end_layer);
	const void *user;
	uint64_t limit_bytes; // 0: none
};

// ret_bounds[0 .. stages]: stage s holds layers [ret_bounds[s], ret_bounds[s + 1]).
// method: "flops" (the smallest largest stage by partition_layer_flops), "memory" (the smallest largest stage by `memory`, and of
// equal ones the most even by FLOPs), "uniform", "parameters", "type:REGEX" (the last three cut exactly where DeepSpeed's
// PipelineModule cuts, as long as no stage is empty). ERROR_USAGE otherwise. "flops" keeps to the cuts whose stages are within
// memory->limit_bytes; where there is none it cuts as "memory" does. `memory` NULL: no limit, and there is no "memory".
bool partition_by_method(const struct model *model, const char *method, uint32_t stages,
			 const struct partition_memory *memory, uint32_t *ret_bounds, struct error *error);
// What a layer of the model costs per sample, forward and backward; the first layer has no input gradient to
// compute.
uint64_t partition_layer_flops(const struct model *model, uint32_t layer);
// split "3,8": first layer of stages 1, 2, ...
bool partition_explicit(const struct model *model, const char *split, uint32_t stages, uint32_t *ret_bounds,
			struct error *error);
