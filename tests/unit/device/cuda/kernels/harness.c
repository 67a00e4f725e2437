// See harness.h.
#include "tests/unit/device/cuda/kernels/harness.h"

enum { GUARD_BYTES = 64 };

struct tensor tensor_new(size_t bytes, size_t offset)
{
	struct tensor tensor = {.offset = offset, .bytes = bytes};
	void *base;
	check(cudaMalloc(&base, offset + bytes + GUARD_BYTES));
	check(cudaMemset(base, POISON, offset + bytes + GUARD_BYTES));
	tensor.base = base;
	tensor.at = tensor.base + offset;
	return tensor;
}

void *host_new(size_t bytes)
{
	void *memory = calloc(bytes + 1, 1);
	assert_non_null(memory);
	return memory;
}

void tensor_free(struct tensor *tensor)
{
	size_t bytes = tensor->offset + tensor->bytes + GUARD_BYTES;
	unsigned char *copy = host_new(bytes);
	check(cudaMemcpy(copy, tensor->base, bytes, cudaMemcpyDeviceToHost));
	for (size_t i = 0; i < bytes; i++)
		if ((i < tensor->offset || i >= tensor->offset + tensor->bytes) && copy[i] != POISON)
			fail_msg("byte %zu of %zu at %zu is overwritten", i, tensor->bytes, tensor->offset);
	free(copy);
	check(cudaFree(tensor->base));
}

struct tensor tensor_of(const void *values, size_t bytes)
{
	struct tensor tensor = tensor_new(bytes, 0);
	check(cudaMemcpy(tensor.at, values, bytes, cudaMemcpyHostToDevice));
	return tensor;
}

void *tensor_bytes(const struct tensor *tensor)
{
	void *copy = host_new(tensor->bytes);
	check(cudaMemcpy(copy, tensor->at, tensor->bytes, cudaMemcpyDeviceToHost));
	return copy;
}

struct tensor typed_askew(enum data_type type, uint64_t count, float *values, uint64_t offset)
{
	size_t size = data_type_bytes(type);
	void *narrow = host_new(count * size);
	data_type_narrow(type, count, values, narrow);
	data_type_widen(type, count, narrow, values);
	struct tensor tensor = tensor_new(count * size, offset * size);
	check(cudaMemcpy(tensor.at, narrow, count * size, cudaMemcpyHostToDevice));
	free(narrow);
	return tensor;
}

struct tensor typed(enum data_type type, uint64_t count, float *values)
{
	return typed_askew(type, count, values, 0);
}

struct tensor typed_new(enum data_type type, uint64_t count)
{
	return tensor_new(count * data_type_bytes(type), 0);
}

float *typed_values(enum data_type type, uint64_t count, const struct tensor *tensor)
{
	void *narrow = tensor_bytes(tensor);
	float *values = host_new(count * sizeof(float));
	data_type_widen(type, count, narrow, values);
	free(narrow);
	return values;
}

float *filled(const char *name, float scale, uint64_t count)
{
	float *values = host_new(count * sizeof(float));
	rule_fill(name, scale, count, values);
	return values;
}

double *doubles(uint64_t count)
{
	return host_new(count * sizeof(double));
}

void assert_close(const char *what, enum data_type type, uint64_t count, const float *values, const double *expected,
		  double floor)
{
	static const double unit[] = {
		[DATA_FLOAT32] = 0x1p-22, [DATA_BFLOAT16] = 0x1.01p-8, [DATA_FLOAT16] = 0x1.01p-11};
	double tiny = type == DATA_FLOAT16 ? 0x1p-24 : 0x1p-130; // the smallest of the type
	double largest = 0.0;
	for (uint64_t i = 0; i < count; i++)
		largest = fabs(expected[i]) > largest ? fabs(expected[i]) : largest;
	for (uint64_t i = 0; i < count; i++)
		if (!(fabs(values[i] - expected[i]) <= unit[type] * fabs(expected[i]) + floor * largest + tiny))
			fail_msg("%s, %s: element %llu of %llu is %.9g, expected %.9g", what, data_type_name(type),
				 (unsigned long long)i, (unsigned long long)count, values[i], expected[i]);
}

void assert_equal(const char *what, enum data_type type, uint64_t count, const float *values, const float *expected)
{
	for (uint64_t i = 0; i < count; i++)
		if (values[i] != expected[i])
			fail_msg("%s, %s: element %llu of %llu is %.9g, expected %.9g", what, data_type_name(type),
				 (unsigned long long)i, (unsigned long long)count, values[i], expected[i]);
}
