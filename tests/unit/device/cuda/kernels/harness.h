// What the tests of the CUDA device's kernels share: they hold them against plain loops in double, for every element type, in odd
// sizes, askew in memory, with more rows than a grid has blocks. They link with cudart on a GPU, or with tests/cuda_stand_in.
//
// What a kernel writes was filled with bytes that are not a number before, and the bytes behind must be untouched afterwards.
// Tolerances: an element may differ from what double says by the rounding of its type (2^-8 of itself in bfloat16, 2^-11 in float16,
// 2^-22 in float32, where several operations round), and by `floor` times the largest expected, where terms cancel.
#pragma once

#include "tests/unit/cmocka_all.h"

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cuda/kernels/kernels.h"
#include "tests/unit/device/reference.h"
#include "tests/unit/device/rule.h"

enum { POISON = 0xFF }; // the bytes of memory that nobody wrote

#define check(call)         assert_int_equal((call), cudaSuccess)
#define LENGTH(array)       (sizeof(array) / sizeof((array)[0]))
#define for_each_type(type) for (enum data_type type = 0; type < DATA_TYPE_COUNT; type++)

// A device's tensor of `bytes`, `offset` bytes behind what cudaMalloc gives.
struct tensor {
	char *base, *at;
	size_t offset, bytes;
};

struct tensor tensor_new(size_t bytes, size_t offset);
void *host_new(size_t bytes);
// Fails when something was written before or behind it.
void tensor_free(struct tensor *tensor);
struct tensor tensor_of(const void *values, size_t bytes);
void *tensor_bytes(const struct tensor *tensor);
// `values` rounded to the type, in the device's memory, `offset` elements askew; and as they were rounded in `values`.
struct tensor typed_askew(enum data_type type, uint64_t count, float *values, uint64_t offset);
struct tensor typed(enum data_type type, uint64_t count, float *values);
struct tensor typed_new(enum data_type type, uint64_t count);
float *typed_values(enum data_type type, uint64_t count, const struct tensor *tensor);
float *filled(const char *name, float scale, uint64_t count);
double *doubles(uint64_t count);
void assert_close(const char *what, enum data_type type, uint64_t count, const float *values, const double *expected,
		  double floor);
// Copies of bits, or what has one right answer.
void assert_equal(const char *what, enum data_type type, uint64_t count, const float *values, const float *expected);
