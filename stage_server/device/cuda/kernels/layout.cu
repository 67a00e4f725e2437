// Layouts and types: channels last and first, element conversions, rows with padding.
#include "stage_server/device/cuda/kernels/device.cuh"

// A tile is read along the columns and written along the rows, so that both sides are whole cache lines. Its rows are one longer
// than they need be: a column then touches every bank of the shared memory once.
enum { TILE = 32, TILE_ROWS = 8 };

// (images, rows, columns) to (images, columns, rows). A block has its columns, and goes round rows and images: to find the place of a
// tile by divisions would cost more than to move it.
template <typename From, typename To>
static __global__ void transpose(uint32_t images, uint32_t rows, uint32_t columns, const From *__restrict__ from,
				 To *__restrict__ to)
{
	__shared__ float tile[TILE][TILE + 1];
	uint32_t down = (rows + TILE - 1) / TILE, first_column = blockIdx.x * TILE, column = first_column + threadIdx.x;
	for (uint64_t n = blockIdx.z; n < images; n += gridDim.z)
		for (uint32_t i = blockIdx.y; i < down; i += gridDim.y) {
			uint64_t image = n * ((uint64_t)rows * columns);
			uint32_t first_row = i * TILE, row = first_row + threadIdx.x;
			for (uint32_t y = threadIdx.y; y < TILE; y += TILE_ROWS)
				if (first_row + y < rows && column < columns)
					tile[y][threadIdx.x] =
						widen(from[image + (uint64_t)(first_row + y) * columns + column]);
			__syncthreads();
			for (uint32_t y = threadIdx.y; y < TILE; y += TILE_ROWS)
				if (first_column + y < columns && row < rows)
					to[image + (uint64_t)(first_column + y) * rows + row] =
						narrow<To>(tile[threadIdx.x][y]);
			__syncthreads(); // before the next tile overwrites this one
		}
}

static cudaError_t issue_transpose(cudaStream_t stream, uint32_t n, uint32_t rows, uint32_t columns,
				   enum data_type from_type, const void *from, enum data_type to_type, void *to)
{
	uint64_t x = blocks_for(columns, TILE, INT32_MAX);
	uint64_t y = blocks_for(rows, TILE, x < MAXIMUM_BLOCKS ? MAXIMUM_BLOCKS / x : 1);
	uint64_t z = blocks_for(n, 1, x * y < MAXIMUM_BLOCKS ? MAXIMUM_BLOCKS / (x * y) : 1);
	struct launch_shape shape = {dim3((unsigned)x, (unsigned)y, (unsigned)z), dim3(TILE, TILE_ROWS)};
	return for_types(from_type, to_type, [&](auto from_element, auto to_element) {
		using From = decltype(from_element);
		using To = decltype(to_element);
		auto kernel = transpose<From, To>;
		KERNEL_LAUNCH_BARRIERS(kernel, shape, stream, n, rows, columns, static_cast<const From *>(from),
				       static_cast<To *>(to));
	});
}

cudaError_t kernel_to_channels_last(cudaStream_t stream, uint32_t n, uint32_t channels, uint32_t positions,
				    enum data_type from_type, const void *from, enum data_type to_type, void *to)
{
	return issue_transpose(stream, n, channels, positions, from_type, from, to_type, to);
}

cudaError_t kernel_to_channels_first(cudaStream_t stream, uint32_t n, uint32_t channels, uint32_t positions,
				     enum data_type from_type, const void *from, enum data_type to_type, void *to)
{
	return issue_transpose(stream, n, positions, channels, from_type, from, to_type, to);
}

// to (+)= from
template <typename From, typename To, int LANES>
static inline __device__ void convert_lanes(const From *from, bool add, To *to)
{
	float values[LANES], sums[LANES];
	load<From, LANES>(from, values);
	if (add) {
		load<To, LANES>(to, sums);
		for (int i = 0; i < LANES; i++)
			values[i] = sums[i] + values[i];
	}
	store<To, LANES>(to, values);
}

// What is left over when the packs are done goes to the first threads.
template <typename From, typename To, int LANES>
static __global__ void convert(uint64_t count, const From *__restrict__ from, bool add, To *__restrict__ to)
{
	uint64_t packs = count / LANES;
	for (uint64_t i = flat_begin(); i < packs; i += flat_step())
		convert_lanes<From, To, LANES>(from + i * LANES, add, to + i * LANES);
	if (flat_begin() < count % LANES)
		convert_lanes<From, To, 1>(from + packs * LANES + flat_begin(), add, to + packs * LANES + flat_begin());
}

static cudaError_t issue_convert(cudaStream_t stream, uint64_t count, enum data_type from_type, const void *from,
				 bool add, enum data_type to_type, void *to)
{
	return for_types(from_type, to_type, [&](auto from_element, auto to_element) {
		using From = decltype(from_element);
		using To = decltype(to_element);
		const From *source = static_cast<const From *>(from);
		To *target = static_cast<To *>(to);
		for_lanes(are_packable(source, target), [&](auto lanes) {
			auto kernel = convert<From, To, decltype(lanes)::value>;
			KERNEL_LAUNCH(kernel, shape_flat(count / decltype(lanes)::value), stream, count, source, add,
				      target);
		});
	});
}

cudaError_t kernel_convert(cudaStream_t stream, uint64_t count, enum data_type from_type, const void *from,
			   enum data_type to_type, void *to)
{
	return issue_convert(stream, count, from_type, from, false, to_type, to);
}

template <typename T, int LANES>
static __global__ void pad_rows(uint64_t rows, uint32_t row, uint32_t padded_row, const float *__restrict__ from,
				T *__restrict__ to)
{
	uint32_t column = row_column() * LANES;
	if (column >= padded_row)
		return;
	for (uint64_t r = row_begin(); r < rows; r += row_step()) {
		float values[LANES] = {};
		if (column < row)
			load<float, LANES>(from + r * row + column, values);
		store<T, LANES>(to + r * padded_row + column, values);
	}
}

cudaError_t kernel_pad_rows(cudaStream_t stream, uint64_t rows, uint32_t row, uint32_t padded_row, const float *from,
			    enum data_type type, void *to)
{
	if (row == padded_row)
		return issue_convert(stream, rows * row, DATA_FLOAT32, from, false, type, to);
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		T *target = static_cast<T *>(to);
		bool packed = row % PACKED_LANES == 0 && padded_row % PACKED_LANES == 0 && are_packable(from, target);
		for_lanes(packed, [&](auto lanes) {
			auto kernel = pad_rows<T, decltype(lanes)::value>;
			KERNEL_LAUNCH(kernel, shape_rows(1, rows, padded_row / decltype(lanes)::value), stream, rows,
				      row, padded_row, from, target);
		});
	});
}

template <typename T, int LANES>
static __global__ void accumulate(uint64_t rows, uint32_t row, uint32_t padded_row, const T *__restrict__ from,
				  bool add, float *__restrict__ to)
{
	uint32_t column = row_column() * LANES;
	if (column >= row)
		return;
	for (uint64_t r = row_begin(); r < rows; r += row_step())
		convert_lanes<T, float, LANES>(from + r * padded_row + column, add, to + r * row + column);
}

cudaError_t kernel_accumulate(cudaStream_t stream, uint64_t rows, uint32_t row, uint32_t padded_row,
			      enum data_type type, const void *from, bool add, float *to)
{
	if (row == padded_row)
		return issue_convert(stream, rows * row, type, from, add, DATA_FLOAT32, to);
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		const T *source = static_cast<const T *>(from);
		bool packed = row % PACKED_LANES == 0 && padded_row % PACKED_LANES == 0 && are_packable(source, to);
		for_lanes(packed, [&](auto lanes) {
			auto kernel = accumulate<T, decltype(lanes)::value>;
			KERNEL_LAUNCH(kernel, shape_rows(1, rows, row / decltype(lanes)::value), stream, rows, row,
				      padded_row, source, add, to);
		});
	});
}
