// The backward pass of a range of operations, derived from the graph. Any thread.
//
// Gradients are summed in one order, wherever the graph is cut. A value with consumers c1 < ... < ck in topological order has the
// gradient ((gk + gk-1) + ...) + g1: the backward pass visits operations from the last to the first, and each adds to what is
// there. An operation that reads a value at two of its inputs adds for the later input first. Across a cut the later stage
// sends its partial sum, and the earlier one goes on adding.
//
// A parameter with several users has one sum for each *use* in a step; uses are added, in topological order, before the norm, the
// reduction and the optimizer's step. So it does not matter which stage a use is on.
#pragma once

#include <stdint.h>

#include "common/graph/graph.h"

enum gradient_action {
	GRADIENT_NONE,  // the input has no gradient
	GRADIENT_WRITE, // the first part: it overwrites
	GRADIENT_ADD,   // added to the parts of later operations
};

// One operation's turn: first its weights' gradients, then its inputs', from its last input to its first.
struct backward_step {
	uint32_t operation;
	bool has_weights; // parameters, whose gradients are computed
	enum gradient_action inputs[OPERATION_MAXIMUM_INPUTS];
};

struct backward {
	uint32_t count;
	struct backward_step
		*steps; // owned; from the last operation to the first. Those without gradients are left out
};
// Of operations [first, end); the gradients of what leaves the range at `end` are there before it begins.
bool backward_derive(const struct graph *graph, uint32_t first, uint32_t end, struct backward *ret_backward,
		     struct error *error);
void backward_free(struct backward *backward); // takes what backward_derive filled, or zeros
