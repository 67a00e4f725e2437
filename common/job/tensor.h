// Tensors between neighbouring stages, or between replicas of one. Plain data; any thread.
#pragma once

#include <stdint.h>

enum tensor_kind {
	TENSOR_NONE,         // or unknown
	TENSOR_ACTIVATION,   // of a micro-batch, going forward
	TENSOR_GRADIENT,     // of an activation, going backward
	TENSOR_GRADIENT_SUM, // a piece of the parameters' gradients, going around the replicas of a stage
};

// What stands before the values of a chunk of a tensor.
struct tensor_chunk {
	uint64_t step;
	uint32_t micro_batch; // of a gradient sum: the number of the piece in the step
	enum tensor_kind kind;
	uint32_t dtype;        // as numbered on the wire, so that a type unknown here can be named (wire_data_type)
	const uint32_t *shape; // [rank] of the whole tensor; borrowed
	uint32_t rank;
	uint64_t offset_bytes; // of this chunk in the tensor
};

// Tensor bytes over the way to one neighbour.
struct link_traffic {
	uint64_t sent_bytes, received_bytes;
};
