// Bias, ReLU and its gradient, and the bias's gradient: sums over the rows of a matrix, alone or with the ReLU behind the bias.
#include "stage_server/device/cuda/kernels/device.cuh"

// As PyTorch's, a value that is not a number stays so: it must reach the loss.
static inline __device__ float relu_of(float value)
{
	return value <= 0.0f ? 0.0f : value;
}

template <typename T, int LANES>
static __global__ void add_bias(uint64_t rows, uint32_t columns, const float *__restrict__ bias, bool relu,
				T *__restrict__ values)
{
	uint32_t column = row_column() * LANES;
	if (column >= columns)
		return;
	float shift[LANES]; // the bias lies among parameters of any size: no pack
	for (int i = 0; i < LANES; i++)
		shift[i] = bias[column + i];
	for (uint64_t r = row_begin(); r < rows; r += row_step()) {
		float sums[LANES];
		load<T, LANES>(values + r * columns + column, sums);
		for (int i = 0; i < LANES; i++) {
			sums[i] += shift[i];
			sums[i] = relu ? relu_of(sums[i]) : sums[i];
		}
		store<T, LANES>(values + r * columns + column, sums);
	}
}

cudaError_t kernel_bias(cudaStream_t stream, enum data_type type, uint64_t rows, uint32_t columns, const float *bias,
			bool relu, void *values)
{
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		T *at = static_cast<T *>(values);
		for_lanes(columns % PACKED_LANES == 0 && are_packable(at), [&](auto lanes) {
			auto kernel = add_bias<T, decltype(lanes)::value>;
			KERNEL_LAUNCH(kernel, shape_rows(1, rows, columns / decltype(lanes)::value), stream, rows,
				      columns, bias, relu, at);
		});
	});
}

template <typename T, int LANES> static inline __device__ void relu_lanes(T *at)
{
	float values[LANES];
	load<T, LANES>(at, values);
	for (int i = 0; i < LANES; i++)
		values[i] = relu_of(values[i]);
	store<T, LANES>(at, values);
}

template <typename T, int LANES> static __global__ void relu(uint64_t count, T *__restrict__ values)
{
	uint64_t packs = count / LANES;
	for (uint64_t i = flat_begin(); i < packs; i += flat_step())
		relu_lanes<T, LANES>(values + i * LANES);
	if (flat_begin() < count % LANES)
		relu_lanes<T, 1>(values + packs * LANES + flat_begin());
}

cudaError_t kernel_relu(cudaStream_t stream, enum data_type type, uint64_t count, void *values)
{
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		T *at = static_cast<T *>(values);
		for_lanes(are_packable(at), [&](auto lanes) {
			auto kernel = relu<T, decltype(lanes)::value>;
			KERNEL_LAUNCH(kernel, shape_flat(count / decltype(lanes)::value), stream, count, at);
		});
	});
}

template <typename T, int LANES>
static inline __device__ void relu_backward_lanes(const T *output, T *gradient, float (&ret_gradients)[LANES])
{
	float values[LANES];
	load<T, LANES>(output, values);
	load<T, LANES>(gradient, ret_gradients);
	for (int i = 0; i < LANES; i++)
		ret_gradients[i] = values[i] <= 0.0f ? 0.0f : ret_gradients[i];
	store<T, LANES>(gradient, ret_gradients);
}

template <typename T, int LANES>
static __global__ void relu_backward(uint64_t count, const T *__restrict__ output, T *__restrict__ gradient)
{
	uint64_t packs = count / LANES;
	float gradients[LANES], one[1];
	for (uint64_t i = flat_begin(); i < packs; i += flat_step())
		relu_backward_lanes<T, LANES>(output + i * LANES, gradient + i * LANES, gradients);
	if (flat_begin() < count % LANES)
		relu_backward_lanes<T, 1>(output + packs * LANES + flat_begin(),
					  gradient + packs * LANES + flat_begin(), one);
}

cudaError_t kernel_relu_backward(cudaStream_t stream, enum data_type type, uint64_t count, const void *output,
				 void *gradient)
{
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		const T *from = static_cast<const T *>(output);
		T *at = static_cast<T *>(gradient);
		for_lanes(are_packable(from, at), [&](auto lanes) {
			auto kernel = relu_backward<T, decltype(lanes)::value>;
			KERNEL_LAUNCH(kernel, shape_flat(count / decltype(lanes)::value), stream, count, from, at);
		});
	});
}

// ---- column sums: blocks of threads sum chunks of rows, and then the same kernel sums the chunks' sums.

enum {
	SUM_WIDTH = 32,      // threads of a block along the columns, at most: at least 8 are along the rows
	SUM_BLOCKS = 1024,   // fill the largest GPUs a few times over
	SUM_THREAD_ROWS = 4, // a thread has at least so many, or blocks would cost more than they sum
};

// Follows from the shape alone, and with it the order of the sums.
struct sum_shape {
	unsigned width, height; // of a block
	unsigned across, chunks;
};

static struct sum_shape sum_shape_of(uint64_t rows, uint32_t columns)
{
	struct sum_shape shape = {1, 0, 0, 0};
	uint32_t packs = columns % PACKED_LANES == 0 ? columns / PACKED_LANES : columns;
	while (shape.width < packs && shape.width < SUM_WIDTH)
		shape.width *= 2;
	shape.height = BLOCK_THREADS / shape.width;
	shape.across = (unsigned)blocks_for(packs, shape.width, INT32_MAX);
	shape.chunks = (unsigned)blocks_for(rows, (uint64_t)shape.height * SUM_THREAD_ROWS,
					    shape.across < SUM_BLOCKS ? SUM_BLOCKS / shape.across : 1);
	return shape;
}

// sums (chunks, columns) (+)= the sums over each chunk of chunk_rows rows. MASKED: after ReLU's backward pass, which is written
// to them; the sums and their order are those of values that had it before.
template <typename T, int LANES, bool MASKED>
static __global__ void sum_columns(uint64_t rows, uint32_t columns, uint64_t chunk_rows, const T *__restrict__ output,
				   std::conditional_t<MASKED, T, const T> *__restrict__ values, bool add,
				   float *__restrict__ sums)
{
	__shared__ float shares[LANES][BLOCK_THREADS];
	uint32_t column = row_column() * LANES;
	float sum[LANES] = {};
	if (column < columns) {
		uint64_t begin = blockIdx.y * chunk_rows, end = begin + chunk_rows;
		end = end < rows ? end : rows;
		for (uint64_t r = begin + threadIdx.y; r < end; r += blockDim.y) {
			float row[LANES];
			if constexpr (MASKED)
				relu_backward_lanes<T, LANES>(output + r * columns + column,
							      values + r * columns + column, row);
			else
				load<T, LANES>(values + r * columns + column, row);
			for (int i = 0; i < LANES; i++)
				sum[i] += row[i];
		}
	}
	for (int i = 0; i < LANES; i++)
		shares[i][threadIdx.y * blockDim.x + threadIdx.x] = sum[i];
	__syncthreads();
	if (threadIdx.y != 0 || column >= columns)
		return;
	float *to = sums + (uint64_t)blockIdx.y * columns + column;
	for (int i = 0; i < LANES; i++) {
		float total = 0.0f;
		for (unsigned y = 0; y < blockDim.y; y++)
			total += shares[i][y * blockDim.x + threadIdx.x];
		to[i] = add ? to[i] + total : total;
	}
}

template <bool MASKED, typename T>
static void issue_sums(cudaStream_t stream, struct sum_shape shape, unsigned chunks, uint64_t rows, uint32_t columns,
		       const T *output, std::conditional_t<MASKED, T, const T> *values, bool add, float *sums)
{
	struct launch_shape launch = {dim3(shape.across, chunks), dim3(shape.width, shape.height)};
	for_lanes(columns % PACKED_LANES == 0, [&](auto lanes) {
		auto kernel = sum_columns<T, decltype(lanes)::value, MASKED>;
		KERNEL_LAUNCH_BARRIERS(kernel, launch, stream, rows, columns, (rows + chunks - 1) / chunks, output,
				       values, add, sums);
	});
}

uint64_t kernel_column_sums_scratch(uint64_t rows, uint32_t columns)
{
	return (uint64_t)sum_shape_of(rows, columns).chunks * columns * sizeof(float);
}

template <bool MASKED>
static cudaError_t column_sums(cudaStream_t stream, enum data_type type, uint64_t rows, uint32_t columns,
			       const void *output, std::conditional_t<MASKED, void, const void> *values, bool add,
			       float *sums, void *scratch)
{
	struct sum_shape shape = sum_shape_of(rows, columns);
	float *shares = static_cast<float *>(scratch);
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		const T *mask = static_cast<const T *>(output);
		auto *from = static_cast<std::conditional_t<MASKED, T, const T> *>(values);
		if (shape.chunks == 1) {
			issue_sums<MASKED>(stream, shape, 1, rows, columns, mask, from, add, sums);
			return;
		}
		issue_sums<MASKED>(stream, shape, shape.chunks, rows, columns, mask, from, false, shares);
		issue_sums<false, float>(stream, shape, 1, shape.chunks, columns, NULL, shares, add, sums);
	});
}

// A tensor that lies askew has no other path here, as it would add up in another order.
static bool can_sum(uint32_t columns, const void *output, const void *values, const void *scratch)
{
	return columns % PACKED_LANES != 0 ||
	       are_packable(static_cast<const float *>(output), static_cast<const float *>(values),
			    static_cast<const float *>(scratch));
}

cudaError_t kernel_column_sums(cudaStream_t stream, enum data_type type, uint64_t rows, uint32_t columns,
			       const void *values, bool add, float *sums, void *scratch)
{
	return can_sum(columns, NULL, values, scratch)
		       ? column_sums<false>(stream, type, rows, columns, NULL, values, add, sums, scratch)
		       : cudaErrorInvalidValue;
}

cudaError_t kernel_relu_backward_sums(cudaStream_t stream, enum data_type type, uint64_t rows, uint32_t columns,
				      const void *output, void *gradient, bool add, float *sums, void *scratch)
{
	return can_sum(columns, output, gradient, scratch)
		       ? column_sums<true>(stream, type, rows, columns, output, gradient, add, sums, scratch)
		       : cudaErrorInvalidValue;
}
