// See matrix.h. Both products keep a tile of results in registers while they run along the matrix: a tile of T_ROWS by T_N
// vectors takes T_ROWS + T_N loads for T_ROWS * T_N multiply-adds. Blocks are sized so that what is reused stays in the
// second-level cache: the few rows of one block of columns (forward), or one panel of the matrix (backward).
//
// This file is compiled with contraction to multiply-add, so its bits depend on the instruction set, as oneDNN's do.
#include "stage_server/device/cpu/matrix.h"

#include <string.h>

#include "stage_server/device/cpu/vector.h"

enum { LANES = 16, BLOCK_COLUMNS = 1024, BLOCK_ROWS = 256, PANEL_COLUMNS = 4 * LANES };

// One AVX-512 register, or two of AVX2. Loads need no alignment.
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));

struct product {
	uint64_t n, rows, columns;
	const float *from, *w;
	float *to;
};

#define INLINE static inline __attribute__((always_inline))

// y[n][r] += sum over k < count of x[n][k] w[r][k], for n < N and r < R; count is any.
INLINE void forward_tile(int R, int N, uint64_t count, const float *w, uint64_t w_stride, const float *x,
			 uint64_t x_stride, float *y, uint64_t y_stride)
{
	lanes sums[4][6];
#pragma GCC unroll 8
	for (int r = 0; r < R; r++)
#pragma GCC unroll 8
		for (int n = 0; n < N; n++)
			sums[r][n] = (lanes){0};
	uint64_t k = 0;
	for (; k + LANES <= count; k += LANES) {
		lanes row[4];
#pragma GCC unroll 8
		for (int r = 0; r < R; r++)
			row[r] = *(const lanes *)(w + (uint64_t)r * w_stride + k);
#pragma GCC unroll 8
		for (int n = 0; n < N; n++) {
			lanes value = *(const lanes *)(x + (uint64_t)n * x_stride + k);
#pragma GCC unroll 8
			for (int r = 0; r < R; r++)
				sums[r][n] += row[r] * value;
		}
	}
#pragma GCC unroll 8
	for (int r = 0; r < R; r++)
#pragma GCC unroll 8
		for (int n = 0; n < N; n++) {
			// Halves onto halves, then the rest of the block one by one.
			float part[LANES];
			memcpy(part, &sums[r][n], sizeof(part));
			for (int width = LANES / 2; width > 0; width /= 2)
				for (int i = 0; i < width; i++)
					part[i] += part[i + width];
			for (uint64_t rest = k; rest < count; rest++)
				part[0] += w[(uint64_t)r * w_stride + rest] * x[(uint64_t)n * x_stride + rest];
			y[(uint64_t)n * y_stride + (uint64_t)r] += part[0];
		}
}

// All n for R rows of the matrix, over one block of columns.
INLINE void forward_rows(int R, int N, const struct product *p, uint64_t row, uint64_t first, uint64_t count)
{
	const float *w = p->w + row * p->columns + first, *x = p->from + first;
	float *y = p->to + row;
	uint64_t n = 0;
	for (; n + (uint64_t)N <= p->n; n += (uint64_t)N)
		forward_tile(R, N, count, w, p->columns, x + n * p->columns, p->columns, y + n * p->rows, p->rows);
	for (; n < p->n; n++)
		forward_tile(R, 1, count, w, p->columns, x + n * p->columns, p->columns, y + n * p->rows, p->rows);
}

INLINE void forward_range(int R, int N, const struct product *p, uint64_t begin, uint64_t end)
{
	for (uint64_t n = 0; n < p->n; n++)
		memset(p->to + n * p->rows + begin, 0, (end - begin) * sizeof(float));
	for (uint64_t first = 0; first < p->columns; first += BLOCK_COLUMNS) {
		uint64_t count = p->columns - first < BLOCK_COLUMNS ? p->columns - first : BLOCK_COLUMNS;
		uint64_t row = begin;
		for (; row + (uint64_t)R <= end; row += (uint64_t)R)
			forward_rows(R, N, p, row, first, count);
		for (; row < end; row++)
			forward_rows(1, N, p, row, first, count);
	}
}

// dx[n][c] (+)= sum over r < rows of dy[n][r] panel[r][c], for n < N and V vectors of columns; the panel is contiguous.
INLINE void backward_tile(int V, int N, uint64_t rows, const float *panel, const float *dy, uint64_t dy_stride,
			  float *dx, uint64_t dx_stride)
{
	lanes sums[6][4];
#pragma GCC unroll 8
	for (int n = 0; n < N; n++)
#pragma GCC unroll 8
		for (int v = 0; v < V; v++)
			sums[n][v] = *(const lanes *)(dx + (uint64_t)n * dx_stride + v * LANES);
	for (uint64_t r = 0; r < rows; r++) {
		lanes row[4];
#pragma GCC unroll 8
		for (int v = 0; v < V; v++)
			row[v] = *(const lanes *)(panel + r * PANEL_COLUMNS + v * LANES);
#pragma GCC unroll 8
		for (int n = 0; n < N; n++) {
			float value = dy[(uint64_t)n * dy_stride + r];
#pragma GCC unroll 8
			for (int v = 0; v < V; v++)
				sums[n][v] += row[v] * value;
		}
	}
#pragma GCC unroll 8
	for (int n = 0; n < N; n++)
#pragma GCC unroll 8
		for (int v = 0; v < V; v++)
			*(lanes *)(dx + (uint64_t)n * dx_stride + v * LANES) = sums[n][v];
}

// One panel of columns: copied block by block to where it is contiguous and zero-padded, then multiplied with all n.
INLINE void backward_panel(int V, int N, const struct product *p, uint64_t first)
{
	float panel[BLOCK_ROWS * PANEL_COLUMNS] __attribute__((aligned(64)));
	uint64_t width = p->columns - first < PANEL_COLUMNS ? p->columns - first : PANEL_COLUMNS;
	float edge[6 * PANEL_COLUMNS] __attribute__((aligned(64))); // of results, where the panel is not full
	for (uint64_t n = 0; n < p->n; n++)
		memset(p->to + n * p->columns + first, 0, width * sizeof(float));
	for (uint64_t row = 0; row < p->rows; row += BLOCK_ROWS) {
		uint64_t rows = p->rows - row < BLOCK_ROWS ? p->rows - row : BLOCK_ROWS;
		for (uint64_t r = 0; r < rows; r++) {
			const float *from = p->w + (row + r) * p->columns + first;
			float *to = panel + r * PANEL_COLUMNS;
			if (width == PANEL_COLUMNS) {
				memcpy(to, from, PANEL_COLUMNS * sizeof(float));
			} else {
				memset(to, 0, PANEL_COLUMNS * sizeof(float));
				memcpy(to, from, width * sizeof(float));
			}
		}
		for (uint64_t n = 0; n < p->n;) {
			uint64_t count = n + (uint64_t)N <= p->n ? (uint64_t)N : 1;
			float *dx = p->to + n * p->columns + first;
			const float *dy = p->from + n * p->rows + row;
			float *results = width == PANEL_COLUMNS ? dx : edge;
			uint64_t stride = width == PANEL_COLUMNS ? p->columns : PANEL_COLUMNS;
			if (results == edge)
				for (uint64_t i = 0; i < count; i++)
					memcpy(edge + i * PANEL_COLUMNS, dx + i * p->columns, width * sizeof(float));
			for (int v = 0; v < PANEL_COLUMNS / LANES; v += V) {
				if (count == 1)
					backward_tile(V, 1, rows, panel + v * LANES, dy, p->rows, results + v * LANES,
						      stride);
				else
					backward_tile(V, N, rows, panel + v * LANES, dy, p->rows, results + v * LANES,
						      stride);
			}
			if (results == edge)
				for (uint64_t i = 0; i < count; i++)
					memcpy(dx + i * p->columns, edge + i * PANEL_COLUMNS, width * sizeof(float));
			n += count;
		}
	}
}

#if defined(__x86_64__)
__attribute__((target("arch=x86-64-v4"))) static void forward_v4(void *context, uint64_t begin, uint64_t end)
{
	forward_range(4, 6, context, begin, end);
}

__attribute__((target("arch=x86-64-v3"))) static void forward_v3(void *context, uint64_t begin, uint64_t end)
{
	forward_range(2, 3, context, begin, end);
}

__attribute__((target("arch=x86-64-v4"))) static void backward_v4(void *context, uint64_t begin, uint64_t end)
{
	for (uint64_t panel = begin; panel < end; panel++)
		backward_panel(4, 6, context, panel * PANEL_COLUMNS);
}

__attribute__((target("arch=x86-64-v3"))) static void backward_v3(void *context, uint64_t begin, uint64_t end)
{
	for (uint64_t panel = begin; panel < end; panel++)
		backward_panel(2, 3, context, panel * PANEL_COLUMNS);
}

bool matrix_is_supported(void)
{
	return __builtin_cpu_supports("x86-64-v3") != 0;
}

void matrix_forward(uint32_t threads, uint64_t n, uint64_t rows, uint64_t columns, const float *x, const float *w,
		    float *y)
{
	struct product product = {.n = n, .rows = rows, .columns = columns, .from = x, .w = w, .to = y};
	vector_for(threads, rows, 64, __builtin_cpu_supports("x86-64-v4") ? forward_v4 : forward_v3, &product);
}

void matrix_backward(uint32_t threads, uint64_t n, uint64_t rows, uint64_t columns, const float *dy, const float *w,
		     float *dx)
{
	struct product product = {.n = n, .rows = rows, .columns = columns, .from = dy, .w = w, .to = dx};
	vector_for(threads, (columns + PANEL_COLUMNS - 1) / PANEL_COLUMNS, 8,
		   __builtin_cpu_supports("x86-64-v4") ? backward_v4 : backward_v3, &product);
}
#else
bool matrix_is_supported(void)
{
	return false;
}

void matrix_forward(uint32_t threads, uint64_t n, uint64_t rows, uint64_t columns, const float *x, const float *w,
		    float *y)
{
}

void matrix_backward(uint32_t threads, uint64_t n, uint64_t rows, uint64_t columns, const float *dy, const float *w,
		     float *dx)
{
}
#endif
