// See matrix.h. Both products keep a tile of results in registers while they run along the matrix: a tile of R by N vectors
// takes R + N loads for R * N multiply-adds. The matrix is taken in blocks that stay in the second-level cache while all n
// rows pass over them, so that it comes from memory once.
//
// This file is compiled with contraction to multiply-add, so its bits depend on the instruction set, as oneDNN's do.
#include "stage_server/device/cpu/matrix.h"

#include <string.h>

#include "stage_server/device/cpu/vector.h"

enum {
	LANES = 16,
	FORWARD_ROWS = 128, // a block of the matrix, 512 KiB
	FORWARD_COLUMNS = 1024,
	PANEL_COLUMNS = 4 * LANES,
	BACKWARD_PANELS = 8, // a block of the matrix, 128 KiB
	BACKWARD_ROWS = 64,
};

// One AVX-512 register, or two of AVX2. Loads need no alignment.
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));

struct product {
	uint64_t n, rows, columns;
	const float *from, *w;
	float *to;
};

#define INLINE static inline __attribute__((always_inline))

typedef int indices __attribute__((vector_size(LANES * sizeof(int))));

// Halves onto halves, four times.
INLINE float lane_sum(const lanes *from)
{
	lanes v = *from;
	v += __builtin_shuffle(v, (indices){8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
	v += __builtin_shuffle(v, (indices){4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
	v += __builtin_shuffle(v, (indices){2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13});
	v += __builtin_shuffle(v, (indices){1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14});
	return v[0];
}

// y[n][r] += sum over k < count of x[n][k] w[r][k], for n < N and r < R; count is any. With `ahead` the same rows of the
// next block of columns are asked for on the way.
INLINE void forward_tile(int R, int N, uint64_t count, const float *w, uint64_t w_stride, const float *x,
			 uint64_t x_stride, float *y, uint64_t y_stride, bool ahead)
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
		if (ahead)
#pragma GCC unroll 8
			for (int r = 0; r < R; r++)
				__builtin_prefetch(w + (uint64_t)r * w_stride + k + FORWARD_COLUMNS, 0, 2);
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
			float sum = lane_sum(&sums[r][n]);
			for (uint64_t rest = k; rest < count; rest++)
				sum += w[(uint64_t)r * w_stride + rest] * x[(uint64_t)n * x_stride + rest];
			y[(uint64_t)n * y_stride + (uint64_t)r] += sum;
		}
}

// N rows of x, from n on, with all rows of a block.
INLINE void forward_strip(int R, int N, const struct product *p, uint64_t n, uint64_t begin, uint64_t end,
			  uint64_t first, uint64_t count)
{
	const float *x = p->from + n * p->columns + first, *w = p->w + first;
	float *y = p->to + n * p->rows;
	// Each strip asks for its share of the next block, so that memory is busy all the time.
	uint64_t strips = (p->n + (uint64_t)N - 1) / (uint64_t)N, strip = n / (uint64_t)N % strips;
	bool is_last = first + count == p->columns;
	uint64_t row = begin;
	for (; row + (uint64_t)R <= end; row += (uint64_t)R)
		forward_tile(R, N, count, w + row * p->columns, p->columns, x, p->columns, y + row, p->rows,
			     !is_last && row / (uint64_t)R % strips == strip);
	for (; row < end; row++)
		forward_tile(1, N, count, w + row * p->columns, p->columns, x, p->columns, y + row, p->rows, false);
}

// How many of the `left` rows the next tile takes: at most N, and evenly, so that no small one is left over.
INLINE uint64_t next_tile(uint64_t left, uint64_t N)
{
	uint64_t tiles = (left + N - 1) / N;
	return (left + tiles - 1) / tiles;
}

INLINE void forward_range(int R, int N, const struct product *p, uint64_t begin, uint64_t end)
{
	for (uint64_t n = 0; n < p->n; n++)
		memset(p->to + n * p->rows + begin, 0, (end - begin) * sizeof(float));
	for (uint64_t first = 0; first < p->columns; first += FORWARD_COLUMNS) {
		uint64_t count = p->columns - first < FORWARD_COLUMNS ? p->columns - first : FORWARD_COLUMNS;
		for (uint64_t n = 0, size; n < p->n; n += size) {
			size = next_tile(p->n - n, (uint64_t)N);
			switch (size) {
			case 6:
				forward_strip(R, 6, p, n, begin, end, first, count);
				break;
			case 5:
				forward_strip(R, 5, p, n, begin, end, first, count);
				break;
			case 4:
				forward_strip(R, 4, p, n, begin, end, first, count);
				break;
			case 3:
				forward_strip(R, 3, p, n, begin, end, first, count);
				break;
			case 2:
				forward_strip(R, 2, p, n, begin, end, first, count);
				break;
			default:
				forward_strip(R, 1, p, n, begin, end, first, count);
			}
		}
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

INLINE void backward_strip(int V, int N, uint64_t rows, const float *panel, const float *dy, uint64_t dy_stride,
			   float *dx, uint64_t dx_stride)
{
	for (int v = 0; v < PANEL_COLUMNS / LANES; v += V)
		backward_tile(V, N, rows, panel + v * LANES, dy, dy_stride, dx + v * LANES, dx_stride);
}

// One panel of a block with all n. Where the panel is not full, results go through `edge`, whose padding is dropped.
INLINE void backward_panel(int V, int N, const struct product *p, const float *panel, uint64_t row, uint64_t rows,
			   uint64_t first, uint64_t width)
{
	float edge[6 * PANEL_COLUMNS] __attribute__((aligned(64))) = {0};
	for (uint64_t n = 0, size; n < p->n; n += size) {
		size = next_tile(p->n - n, (uint64_t)N);
		const float *dy = p->from + n * p->rows + row;
		float *dx = p->to + n * p->columns + first, *to = width == PANEL_COLUMNS ? dx : edge;
		uint64_t stride = width == PANEL_COLUMNS ? p->columns : PANEL_COLUMNS;
		for (uint64_t i = 0; i < size && to == edge; i++)
			memcpy(edge + i * PANEL_COLUMNS, dx + i * p->columns, width * sizeof(float));
		switch (size) {
		case 6:
			backward_strip(V, 6, rows, panel, dy, p->rows, to, stride);
			break;
		case 5:
			backward_strip(V, 5, rows, panel, dy, p->rows, to, stride);
			break;
		case 4:
			backward_strip(V, 4, rows, panel, dy, p->rows, to, stride);
			break;
		case 3:
			backward_strip(V, 3, rows, panel, dy, p->rows, to, stride);
			break;
		case 2:
			backward_strip(V, 2, rows, panel, dy, p->rows, to, stride);
			break;
		default:
			backward_strip(V, 1, rows, panel, dy, p->rows, to, stride);
		}
		for (uint64_t i = 0; i < size && to == edge; i++)
			memcpy(dx + i * p->columns, edge + i * PANEL_COLUMNS, width * sizeof(float));
	}
}

// Columns [begin, end): each block is copied panel by panel to where it is contiguous and zero-padded.
INLINE void backward_range(int V, int N, const struct product *p, uint64_t begin, uint64_t end)
{
	float panels[BACKWARD_PANELS][BACKWARD_ROWS * PANEL_COLUMNS] __attribute__((aligned(64)));
	for (uint64_t n = 0; n < p->n; n++)
		memset(p->to + n * p->columns + begin, 0, (end - begin) * sizeof(float));
	for (uint64_t row = 0; row < p->rows; row += BACKWARD_ROWS) {
		uint64_t rows = p->rows - row < BACKWARD_ROWS ? p->rows - row : BACKWARD_ROWS;
		for (uint64_t r = 0; r < rows; r++) {
			const float *from = p->w + (row + r) * p->columns;
			for (uint64_t first = begin; first < end; first += PANEL_COLUMNS) {
				float *to = panels[(first - begin) / PANEL_COLUMNS] + r * PANEL_COLUMNS;
				uint64_t width = end - first < PANEL_COLUMNS ? end - first : PANEL_COLUMNS;
				if (width < PANEL_COLUMNS)
					memset(to, 0, PANEL_COLUMNS * sizeof(float));
				for (uint64_t c = 0; c < width; c++)
					to[c] = from[first + c];
			}
		}
		for (uint64_t first = begin; first < end; first += PANEL_COLUMNS)
			backward_panel(V, N, p, panels[(first - begin) / PANEL_COLUMNS], row, rows, first,
				       end - first < PANEL_COLUMNS ? end - first : PANEL_COLUMNS);
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
	backward_range(4, 6, context, begin, end);
}

__attribute__((target("arch=x86-64-v3"))) static void backward_v3(void *context, uint64_t begin, uint64_t end)
{
	backward_range(2, 3, context, begin, end);
}

bool matrix_is_supported(void)
{
	return __builtin_cpu_supports("x86-64-v3") != 0;
}

void matrix_forward(uint32_t threads, uint64_t n, uint64_t rows, uint64_t columns, const float *x, const float *w,
		    float *y)
{
	struct product product = {.n = n, .rows = rows, .columns = columns, .from = x, .w = w, .to = y};
	vector_for(threads, rows, FORWARD_ROWS, __builtin_cpu_supports("x86-64-v4") ? forward_v4 : forward_v3,
		   &product);
}

void matrix_backward(uint32_t threads, uint64_t n, uint64_t rows, uint64_t columns, const float *dy, const float *w,
		     float *dx)
{
	struct product product = {.n = n, .rows = rows, .columns = columns, .from = dy, .w = w, .to = dx};
	vector_for(threads, columns, BACKWARD_PANELS * PANEL_COLUMNS,
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
