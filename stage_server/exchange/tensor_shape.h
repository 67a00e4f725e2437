// What crosses a boundary: the same both ways. Or a piece of what replicas sum. Pure data. Any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/model/data_type.h"

struct tensor_shape {
	uint32_t rank;          // 4: (N, C, H, W); 2: (N, F); 1: a piece's length
	uint32_t dimensions[4]; // of the whole tensor
	enum data_type type;
	uint64_t bytes;
};

enum { DIMENSIONS_TEXT_SIZE = 96 };
// "2, 64, 8, 8", for messages; as many as there is room for. Returns `into`.
const char *tensor_dimensions_text(size_t rank, const uint32_t *dimensions, char into[DIMENSIONS_TEXT_SIZE]);
