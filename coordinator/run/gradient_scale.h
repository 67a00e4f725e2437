// What gradients are multiplied by before the optimizer's step: clipping by their global norm, and the loss scale undone. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct gradient_scale {
	bool overflow; // a square is infinite or not a number: what follows means nothing
	double norm;   // of the gradients without the loss scale
	double scale;
};

// `squares` are sums of squares of the gradients of `count` parameters, in the model's order, so that the cut does not show in
// the bits of their sum; `loss_scale` is what they were scaled by, `clipping` the largest norm, or 0. As
// torch.nn.utils.clip_grad_norm_: min(1, clipping / (norm + 1e-6)).
struct gradient_scale gradient_scale_of(const double *squares, uint32_t count, double loss_scale, double clipping);
