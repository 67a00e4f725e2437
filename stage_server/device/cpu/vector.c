// See vector.h.
#include "stage_server/device/cpu/vector.h"

#include <omp.h>
#include <string.h>

// What was written before hand_over is seen after take_over: libgomp sees to that, but inside a library that
// ThreadSanitizer cannot look into, so its builds are told.
#ifdef PENSTOCK_THREAD_SANITIZER
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define take_over(address) __tsan_acquire(address)
#define hand_over(address) __tsan_release(address)
#else
#define take_over(address)
#define hand_over(address)
#endif

void vector_for(uint32_t threads, uint64_t count, uint64_t chunk,
		void (*work)(void *context, uint64_t begin, uint64_t end), void *context)
{
	uint64_t chunks = (count + chunk - 1) / chunk;
	if (threads <= 1 || chunks <= 1) {
		for (uint64_t i = 0; i < chunks; i++)
			work(context, i * chunk, i + 1 == chunks ? count : (i + 1) * chunk);
		return;
	}
	hand_over(context);
#pragma omp parallel num_threads(threads)
	{
		take_over(context);
#pragma omp for schedule(static) nowait
		for (uint64_t i = 0; i < chunks; i++)
			work(context, i * chunk, i + 1 == chunks ? count : (i + 1) * chunk);
		hand_over(context);
	}
	take_over(context);
}

struct vectors {
	const float *from, *bias;
	float *to;
	double *partial;
	uint64_t rows, columns;
	int flag;
};

static void copy(void *context, uint64_t begin, uint64_t end)
{
	const struct vectors *v = context;
	memcpy(v->to + begin, v->from + begin, (end - begin) * sizeof(float));
}

void vector_copy(uint32_t threads, uint64_t count, const float *from, float *to)
{
	vector_for(threads, count, VECTOR_CHUNK, copy, &(struct vectors){.from = from, .to = to});
}

VECTOR_CLONES static void relu(void *context, uint64_t begin, uint64_t end)
{
	float *restrict to = ((struct vectors *)context)->to;
	for (uint64_t i = begin; i < end; i++)
		to[i] = to[i] <= 0.0f ? 0.0f : to[i];
}

void vector_relu(uint32_t threads, uint64_t count, float *values)
{
	vector_for(threads, count, VECTOR_CHUNK, relu, &(struct vectors){.to = values});
}

VECTOR_CLONES static void relu_backward(void *context, uint64_t begin, uint64_t end)
{
	const float *restrict output = ((struct vectors *)context)->from;
	float *restrict to = ((struct vectors *)context)->to;
	for (uint64_t i = begin; i < end; i++)
		to[i] = output[i] <= 0.0f ? 0.0f : to[i];
}

void vector_relu_backward(uint32_t threads, uint64_t count, const float *output, float *gradient)
{
	vector_for(threads, count, VECTOR_CHUNK, relu_backward, &(struct vectors){.from = output, .to = gradient});
}

VECTOR_CLONES static void add(void *context, uint64_t begin, uint64_t end)
{
	const float *restrict from = ((struct vectors *)context)->from;
	float *restrict to = ((struct vectors *)context)->to;
	for (uint64_t i = begin; i < end; i++)
		to[i] += from[i];
}

void vector_add(uint32_t threads, uint64_t count, const float *from, float *to)
{
	vector_for(threads, count, VECTOR_CHUNK, add, &(struct vectors){.from = from, .to = to});
}

VECTOR_CLONES static void bias_rows(void *context, uint64_t begin, uint64_t end)
{
	const struct vectors *v = context;
	const float *restrict bias = v->bias;
	for (uint64_t row = begin; row < end; row++) {
		float *restrict to = v->to + row * v->columns;
		if (v->flag) {
			for (uint64_t i = 0; i < v->columns; i++) {
				float sum = to[i] + bias[i];
				to[i] = sum <= 0.0f ? 0.0f : sum;
			}
		} else {
			for (uint64_t i = 0; i < v->columns; i++)
				to[i] += bias[i];
		}
	}
}

void vector_bias(uint32_t threads, uint64_t rows, uint64_t columns, const float *bias, float *values, int relu_too)
{
	struct vectors v = {.bias = bias, .to = values, .columns = columns, .flag = relu_too};
	vector_for(threads, rows, 4, bias_rows, &v);
}

VECTOR_CLONES static void column_sums(void *context, uint64_t begin, uint64_t end)
{
	const struct vectors *v = context;
	float *restrict to = v->to;
	if (!v->flag)
		for (uint64_t c = begin; c < end; c++)
			to[c] = 0.0f;
	for (uint64_t row = 0; row < v->rows; row++) {
		const float *restrict from = v->from + row * v->columns;
		for (uint64_t c = begin; c < end; c++)
			to[c] += from[c];
	}
}

void vector_column_sums(uint32_t threads, uint64_t rows, uint64_t columns, const float *values, int add_to, float *sums)
{
	struct vectors v = {.from = values, .to = sums, .rows = rows, .columns = columns, .flag = add_to};
	vector_for(threads, columns, 1024, column_sums, &v);
}

VECTOR_CLONES static void row_sums(void *context, uint64_t begin, uint64_t end)
{
	const struct vectors *v = context;
	for (uint64_t row = begin; row < end; row++) {
		const float *from = v->from + row * v->columns;
		float lanes[32] = {0.0f}, sum = v->flag ? v->to[row] : 0.0f;
		uint64_t i = 0;
		for (; i + 32 <= v->columns; i += 32)
			for (int lane = 0; lane < 32; lane++)
				lanes[lane] += from[i + lane];
		for (int lane = 0; i < v->columns; i++, lane++)
			lanes[lane] += from[i];
		for (int lane = 0; lane < 32; lane++)
			sum += lanes[lane];
		v->to[row] = sum;
	}
}

void vector_row_sums(uint32_t threads, uint64_t rows, uint64_t columns, const float *values, int add_to, float *sums)
{
	struct vectors v = {.from = values, .to = sums, .rows = rows, .columns = columns, .flag = add_to};
	vector_for(threads, rows, 16, row_sums, &v);
}

VECTOR_CLONES static void squares(void *context, uint64_t begin, uint64_t end)
{
	const struct vectors *v = context;
	const float *from = v->from;
	double lanes[32] = {0.0};
	uint64_t i = begin;
	for (; i + 32 <= end; i += 32)
		for (int lane = 0; lane < 32; lane++) {
			double value = from[i + lane];
			lanes[lane] += value * value;
		}
	for (int lane = 0; i < end; i++, lane++) {
		double value = from[i];
		lanes[lane] += value * value;
	}
	double sum = 0.0;
	for (int lane = 0; lane < 32; lane++)
		sum += lanes[lane];
	v->partial[begin / VECTOR_CHUNK] = sum;
}

double vector_squares(uint32_t threads, uint64_t count, const float *values, double *partial)
{
	vector_for(threads, count, VECTOR_CHUNK, squares, &(struct vectors){.from = values, .partial = partial});
	double sum = 0.0;
	for (uint64_t i = 0; i * VECTOR_CHUNK < count; i++)
		sum += partial[i];
	return sum;
}
