// Products of a few rows with a large row-major matrix: what linear layers of a micro-batch are. A general SGEMM packs the
// matrix into another order first, which for few rows costs as much as the product; here it is read once, as it lies.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Whether this processor has the instructions (x86-64-v3 at least); nothing below may be called otherwise.
bool matrix_is_supported(void);
// The same bits for any number of threads. Sums run over columns in blocks, by lane of a vector.
// y (n, rows) = x (n, columns) w (rows, columns)^T
void matrix_forward(uint32_t threads, uint64_t n, uint64_t rows, uint64_t columns, const float *x, const float *w,
		    float *y);
// dx (n, columns) = dy (n, rows) w (rows, columns)
void matrix_backward(uint32_t threads, uint64_t n, uint64_t rows, uint64_t columns, const float *dy, const float *w,
		     float *dx);
