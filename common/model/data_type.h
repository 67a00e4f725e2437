// Types of tensor elements: what a device computes in, and what crosses a boundary. bfloat16 and float16 are IEEE-rounded
// (to nearest, ties to even) from float32. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum data_type { DATA_FLOAT32, DATA_BFLOAT16, DATA_FLOAT16, DATA_TYPE_COUNT };

uint32_t data_type_bytes(enum data_type type);   // of an element: 4 or 2
const char *data_type_name(enum data_type type); // "float32", "bfloat16", "float16"
bool data_type_parse(const char *name,
		     enum data_type *ret_type); // those, DeepSpeed's "fp32", "bf16", "bfp16", "fp16", any case

// `count` elements from float32 to `type` and back. Values beyond float16's range become infinities.
void data_type_narrow(enum data_type type, uint64_t count, const float *from, void *to);
void data_type_widen(enum data_type type, uint64_t count, const void *from, float *to);
