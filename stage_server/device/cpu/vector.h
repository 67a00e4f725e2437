// Loops over floats, shared out to the program's threads in chunks whose borders do not depend on the number of
// threads; each element's arithmetic is the same in every chunk and on every instruction set.
#pragma once

#include <stdint.h>

// A function compiled for several instruction sets, chosen when the program starts. Contraction to multiply-add is
// off in this build, so all of them give the same bits. Sanitizers cannot run before the choice is made.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTOR_CLONES
#endif

enum { VECTOR_CHUNK = 16384 }; // elements

// Calls `work` on [begin, end) for each chunk of `chunk` elements of [0, count).
void vector_for(uint32_t threads, uint64_t count, uint64_t chunk,
		void (*work)(void *context, uint64_t begin, uint64_t end), void *context);

void vector_copy(uint32_t threads, uint64_t count, const float *from, float *to);
// As in PyTorch: only what is at most 0 becomes 0, so NaN stays NaN, and its gradient passes.
void vector_relu(uint32_t threads, uint64_t count, float *values);
// gradient = output <= 0 ? 0 : gradient
void vector_relu_backward(uint32_t threads, uint64_t count, const float *output, float *gradient);
void vector_add(uint32_t threads, uint64_t count, const float *from, float *to);
// Rows of `columns`: adds the bias to each, then applies ReLU if `relu`.
void vector_bias(uint32_t threads, uint64_t rows, uint64_t columns, const float *bias, float *values, int relu);
// sums[c] (+)= the sum over rows, in their order
void vector_column_sums(uint32_t threads, uint64_t rows, uint64_t columns, const float *values, int add, float *sums);
// sums[r] (+)= the sum over columns, by lanes of a fixed number
void vector_row_sums(uint32_t threads, uint64_t rows, uint64_t columns, const float *values, int add, float *sums);
// Sum of squares in double: of each chunk, then of the chunks in order. `partial` has a double per chunk.
double vector_squares(uint32_t threads, uint64_t count, const float *values, double *partial);
