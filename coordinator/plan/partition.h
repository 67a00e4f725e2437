// Cuts a list of layers into contiguous, non-empty stages.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/model/model.h"

// ret_bounds[0 .. stages]: stage s holds layers [ret_bounds[s], ret_bounds[s + 1]).
// method: "flops" (the smallest largest stage by partition_layer_flops), "uniform", "parameters",
// "type:REGEX" (the last three cut exactly where DeepSpeed's PipelineModule cuts, as long as no stage is
// empty). ERROR_USAGE otherwise.
bool partition_by_method(const struct model *model, const char *method, uint32_t stages, uint32_t *ret_bounds,
			 struct error *error);
// What a layer of the model costs per sample, forward and backward; the first layer has no input gradient to
// compute.
uint64_t partition_layer_flops(const struct model *model, uint32_t layer);
// split "3,8": first layer of stages 1, 2, ...
bool partition_explicit(const struct model *model, const char *split, uint32_t stages, uint32_t *ret_bounds,
			struct error *error);
