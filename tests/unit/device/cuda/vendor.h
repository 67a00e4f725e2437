// What the tests of cuDNN's and cuBLASLt's callers share: tensors on the device, made of numbers that a key draws, poison, and how
// far a result may be from the truth. They run against the real libraries on a GPU and against stand-ins without one, so of CUDA
// they use memory, copies and streams alone.
#pragma once

#include "tests/unit/cmocka_all.h"

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/model/data_type.h"

// A tensor: its values as the device has them (rounded to its type), and its memory there.
struct vendor_tensor {
	enum data_type type;
	uint64_t count;
	float *values;
	void *memory;
};

static inline void vendor_check(cudaError_t status)
{
	if (status != cudaSuccess)
		fail_msg("%s", cudaGetErrorString(status));
}

// bfloat16 came with compute capability 8.0; cuDNN has no engine for it before.
static inline bool vendor_has(enum data_type type)
{
	int major = 0;
	vendor_check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
	return type != DATA_BFLOAT16 || major >= 8;
}

// An integer's bits mixed (the finalizer of MurmurHash3): enough of a random number for a test, the same everywhere.
static inline float vendor_number(uint64_t key)
{
	key = (key ^ (key >> 33)) * 0xff51afd7ed558ccdull;
	key = (key ^ (key >> 33)) * 0xc4ceb9fe1a85ec53ull;
	return (float)((double)((key ^ (key >> 33)) >> 40) / (1 << 23) - 1.0);
}

static inline void vendor_upload(struct vendor_tensor *tensor)
{
	uint64_t bytes = tensor->count * data_type_bytes(tensor->type);
	void *narrow = malloc(bytes);
	assert_non_null(narrow);
	data_type_narrow(tensor->type, tensor->count, tensor->values, narrow);
	data_type_widen(tensor->type, tensor->count, narrow, tensor->values);
	// The copy may still be under way when cudaMemcpy returns, and the test's stream does not wait for the default one.
	vendor_check(cudaMemcpy(tensor->memory, narrow, bytes, cudaMemcpyHostToDevice));
	vendor_check(cudaDeviceSynchronize());
	free(narrow);
}

// Values of -1 to 1, by `key`; 0: NAN, so that what a result leaves out, or reads of what was there before, shows.
static inline struct vendor_tensor vendor_tensor(enum data_type type, uint64_t count, uint64_t key)
{
	struct vendor_tensor tensor = {.type = type, .count = count, .values = malloc(count * sizeof(float))};
	assert_non_null(tensor.values);
	for (uint64_t i = 0; i < count; i++)
		tensor.values[i] = key == 0 ? NAN : vendor_number(key * 1000003 + i);
	vendor_check(cudaMalloc(&tensor.memory, count * data_type_bytes(type)));
	vendor_upload(&tensor);
	return tensor;
}

static inline void vendor_free(struct vendor_tensor *tensor)
{
	free(tensor->values);
	vendor_check(cudaFree(tensor->memory));
}

// The result against `expected`, in the order of memory. A rounding of the type is relative to the element, and what float32's
// (or TF32's) sums lose is relative to the sum of the products' absolute values, `magnitude`.
static inline void vendor_expect(const struct vendor_tensor *result, const double *expected, const double *magnitude,
				 bool tf32, const char *what)
{
	static const double roundings[] = {
		[DATA_FLOAT32] = 1e-7, [DATA_BFLOAT16] = 1.0 / 128, [DATA_FLOAT16] = 1.0 / 1024};
	uint64_t bytes = result->count * data_type_bytes(result->type);
	void *narrow = malloc(bytes);
	float *found = malloc(result->count * sizeof(float));
	assert_true(narrow != NULL && found != NULL);
	vendor_check(cudaDeviceSynchronize());
	vendor_check(cudaMemcpy(narrow, result->memory, bytes, cudaMemcpyDeviceToHost));
	data_type_widen(result->type, result->count, narrow, found);
	for (uint64_t i = 0; i < result->count; i++) {
		double allowed = roundings[result->type] *
					 (fabs(expected[i]) + (result->type != DATA_FLOAT32) * magnitude[i] / 8) +
				 magnitude[i] * (tf32 ? 2e-3 : 1e-5) + 1e-12;
		if (!(fabs(found[i] - expected[i]) <= allowed))
			fail_msg("%s: element %llu is %.9g, expected %.9g within %.2g", what, (unsigned long long)i,
				 found[i], expected[i], allowed);
	}
	free(narrow);
	free(found);
}

static inline void vendor_ok(bool ok, const struct error *error, const char *what)
{
	if (!ok)
		fail_msg("%s: %s", what, error->message);
}
