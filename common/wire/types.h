// Numbers of the wire that others compare and name. Any thread.
#pragma once

#include <stdint.h>

#include "common/model/data_type.h"

uint32_t wire_data_type(enum data_type type); // tensor_chunk.dtype of such a tensor
