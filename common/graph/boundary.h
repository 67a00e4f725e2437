// What crosses a cut of a graph, and how long values live. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/graph/graph.h"

// The values that are live across a cut before operation `position`: made before it, used at or behind it, in the order of
// their ids. They go forward; their gradients, of those that have one, go backward in the same order. The graph's inputs are not
// among them: each stage that uses one gets it from the coordinator.
struct boundary {
	uint32_t count;
	uint32_t *values; // owned
};
bool boundary_find(const struct graph *graph, uint32_t position, struct boundary *ret_boundary, struct error *error);
void boundary_free(struct boundary *boundary); // takes what boundary_find filled, or zeros

// What operations [first, end) do with a value that enters at their first boundary.
struct crossing {
	uint32_t value;
	bool is_used; // by one of them
	bool goes_on; // it leaves at their second boundary, too: without is_used it only passes through, its gradient as well
};
// Those of the range, in the order of its first boundary. `ret_crossings` has as many places as the boundary has values.
void boundary_crossings(const struct graph *graph, const struct boundary *boundary, uint32_t first, uint32_t end,
			struct crossing *ret_crossings);

// Bytes of a boundary for one sample, where real numbers are `element_bytes` wide; forward, and of the gradients.
struct boundary_bytes {
	uint64_t forward, backward;             // of values that are per sample
	uint64_t forward_whole, backward_whole; // of those that are not, once a micro-batch
};
struct boundary_bytes boundary_bytes(const struct graph *graph, const struct boundary *boundary,
				     uint32_t element_bytes);

// When a value is needed within operations [first, end).
struct lifetime {
	uint32_t begin; // the operation that makes it; `first` where it enters
	uint32_t end;   // the last one that reads it; `end` of the range where it leaves
	bool is_kept;   // a backward pass of the range reads it again
};
void boundary_lifetime(const struct graph *graph, uint32_t value, uint32_t first, uint32_t end,
		       struct lifetime *ret_lifetime);
