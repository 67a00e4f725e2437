// Max pool and adaptive average pool, NHWC: a thread has the same channels of every window that it looks at. The backward passes
// gather, each input element from the windows that hold it, so nothing is added by two threads.
#include "stage_server/device/cuda/kernels/device.cuh"

enum { NO_PLACE = UINT8_MAX }; // in no window: 15 * 15 places are below it

template <typename T, int LANES>
static __global__ void max_pool(struct pool_kernel s, bool behind_relu, const T *__restrict__ input,
				T *__restrict__ output, uint8_t *__restrict__ places)
{
	uint32_t channel = row_column() * LANES;
	if (channel >= s.channels)
		return;
	uint32_t positions = s.output_height * s.output_width;
	for (uint64_t n = blockIdx.z; n < s.n; n += gridDim.z)
		for (uint64_t p = row_begin(); p < positions; p += row_step()) {
			uint32_t top = (uint32_t)p / s.output_width * s.stride;
			uint32_t left = (uint32_t)p % s.output_width * s.stride;
			const T *from = input + ((n * s.height + top) * s.width + left) * s.channels + channel;
			float largest[LANES], values[LANES];
			pack<uint8_t, LANES> place = {};
			load<T, LANES>(from, largest);
			for (uint32_t h = 0; h < s.window; h++)
				for (uint32_t w = 0; w < s.window; w++) {
					load<T, LANES>(from + ((uint64_t)h * s.width + w) * s.channels, values);
					// What is not a number wins, as in PyTorch: it must reach the loss.
					for (int i = 0; i < LANES; i++)
						if (values[i] > largest[i] || values[i] != values[i]) {
							largest[i] = values[i];
							place.lane[i] = (uint8_t)(h * s.window + w);
						}
				}
			for (int i = 0; i < LANES; i++)
				if (behind_relu && largest[i] <= 0.0f)
					place.lane[i] = NO_PLACE;
			uint64_t to = (n * positions + p) * s.channels + channel;
			store<T, LANES>(output + to, largest);
			*reinterpret_cast<pack<uint8_t, LANES> *>(places + to) = place;
		}
}

cudaError_t kernel_max_pool(cudaStream_t stream, enum data_type type, const struct pool_kernel *spec, bool behind_relu,
			    const void *input, void *output, uint8_t *places)
{
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		const T *from = static_cast<const T *>(input);
		T *to = static_cast<T *>(output);
		for_lanes(spec->channels % PACKED_LANES == 0 && are_packable(from, to) && are_packable(places),
			  [&](auto lanes) {
				  auto kernel = max_pool<T, decltype(lanes)::value>;
				  struct launch_shape shape =
					  shape_rows(spec->n, (uint64_t)spec->output_height * spec->output_width,
						     spec->channels / decltype(lanes)::value);
				  KERNEL_LAUNCH(kernel, shape, stream, *spec, behind_relu, from, to, places);
			  });
	});
}

// Of the windows [i * stride, i * stride + window) with i < count those that hold `x`, where `cell` is x / stride: [ret_begin, ret_end).
// There are few, so they are counted: a division would cost more than the memory.
static inline __device__ void windows_of(uint32_t x, uint32_t cell, const struct pool_kernel &s, uint32_t count,
					 uint32_t *ret_begin, uint32_t *ret_end)
{
	uint32_t begin = cell + 1;
	while (begin > 0 && x - (begin - 1) * s.stride < s.window)
		begin--;
	*ret_begin = begin;
	*ret_end = cell + 1 < count ? cell + 1 : count;
}

// Adds to input (y, x), which lies in cell (row, column), from the windows whose largest it is. Both pointers are at its image and channel.
template <typename T, int LANES>
static inline __device__ void gather_largest(const struct pool_kernel &s, const T *gradient, const uint8_t *places,
					     uint32_t y, uint32_t row, uint32_t x, uint32_t column,
					     float (&sums)[LANES])
{
	uint32_t top, bottom, left, right;
	windows_of(y, row, s, s.output_height, &top, &bottom);
	windows_of(x, column, s, s.output_width, &left, &right);
	for (uint32_t oh = top; oh < bottom; oh++)
		for (uint32_t ow = left; ow < right; ow++) {
			uint64_t from = ((uint64_t)oh * s.output_width + ow) * s.channels;
			uint32_t here = (y - oh * s.stride) * s.window + (x - ow * s.stride);
			float values[LANES];
			load<T, LANES>(gradient + from, values);
			pack<uint8_t, LANES> place = *reinterpret_cast<const pack<uint8_t, LANES> *>(places + from);
			for (int i = 0; i < LANES; i++)
				sums[i] += place.lane[i] == here ? values[i] : 0.0f;
		}
}

struct cells {
	uint32_t down, across;
};

// A thread has the inputs of one cell, from where one window begins to where the next ones do: it divides once for all of them.
template <typename T, int LANES>
static __global__ void max_pool_backward(struct pool_kernel s, struct cells cells,
					 const T *__restrict__ output_gradient, const uint8_t *__restrict__ places,
					 T *__restrict__ input_gradient)
{
	uint32_t channel = row_column() * LANES;
	if (channel >= s.channels)
		return;
	for (uint64_t n = blockIdx.z; n < s.n; n += gridDim.z)
		for (uint64_t cell = row_begin(); cell < (uint64_t)cells.down * cells.across; cell += row_step()) {
			uint32_t row = (uint32_t)cell / cells.across, column = (uint32_t)cell % cells.across;
			uint32_t bottom = (row + 1) * s.stride < s.height ? (row + 1) * s.stride : s.height;
			uint32_t right = (column + 1) * s.stride < s.width ? (column + 1) * s.stride : s.width;
			uint64_t image = n * s.output_height * s.output_width * s.channels + channel;
			for (uint32_t y = row * s.stride; y < bottom; y++)
				for (uint32_t x = column * s.stride; x < right; x++) {
					float sums[LANES] = {};
					gather_largest<T, LANES>(s, output_gradient + image, places + image, y, row, x,
								 column, sums);
					uint64_t to = ((n * s.height + y) * s.width + x) * s.channels + channel;
					store<T, LANES>(input_gradient + to, sums);
				}
		}
}

cudaError_t kernel_max_pool_backward(cudaStream_t stream, enum data_type type, const struct pool_kernel *spec,
				     const void *output_gradient, const uint8_t *places, void *input_gradient)
{
	struct cells cells = {(spec->height - 1) / spec->stride + 1, (spec->width - 1) / spec->stride + 1};
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		const T *from = static_cast<const T *>(output_gradient);
		T *to = static_cast<T *>(input_gradient);
		for_lanes(spec->channels % PACKED_LANES == 0 && are_packable(from, to) && are_packable(places),
			  [&](auto lanes) {
				  auto kernel = max_pool_backward<T, decltype(lanes)::value>;
				  struct launch_shape shape = shape_rows(spec->n, (uint64_t)cells.down * cells.across,
									 spec->channels / decltype(lanes)::value);
				  KERNEL_LAUNCH(kernel, shape, stream, *spec, cells, from, places, to);
			  });
	});
}

// Window `o` of `out` over `in` elements. It is its own inverse: element i of `in` lies in those windows of `out` that
// share_begin(i, out, in) and share_end(i, out, in) enclose. In 32 bits: a GPU has no division of 64, and would call a function.
static inline __device__ uint32_t share_begin(uint32_t o, uint32_t in, uint32_t out)
{
	return o * in / out;
}

static inline __device__ uint32_t share_end(uint32_t o, uint32_t in, uint32_t out)
{
	return ((o + 1) * in + out - 1) / out;
}

template <typename T, int LANES>
static __global__ void average_pool(struct pool_kernel s, const T *__restrict__ input, T *__restrict__ output)
{
	uint32_t channel = row_column() * LANES;
	if (channel >= s.channels)
		return;
	uint32_t positions = s.output_height * s.output_width;
	for (uint64_t p = row_begin(); p < positions; p += row_step()) {
		uint32_t oh = (uint32_t)p / s.output_width, ow = (uint32_t)p % s.output_width;
		uint32_t top = share_begin(oh, s.height, s.output_height);
		uint32_t bottom = share_end(oh, s.height, s.output_height);
		uint32_t left = share_begin(ow, s.width, s.output_width);
		uint32_t right = share_end(ow, s.width, s.output_width);
		float area = (float)((bottom - top) * (right - left));
		for (uint64_t n = blockIdx.z; n < s.n; n += gridDim.z) {
			float sums[LANES] = {}, values[LANES];
			for (uint32_t h = top; h < bottom; h++)
				for (uint32_t w = left; w < right; w++) {
					load<T, LANES>(input + ((n * s.height + h) * s.width + w) * s.channels +
							       channel,
						       values);
					for (int i = 0; i < LANES; i++)
						sums[i] += values[i];
				}
			for (int i = 0; i < LANES; i++)
				sums[i] /= area;
			store<T, LANES>(output + (n * positions + p) * s.channels + channel, sums);
		}
	}
}

cudaError_t kernel_average_pool(cudaStream_t stream, enum data_type type, const struct pool_kernel *spec,
				const void *input, void *output)
{
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		const T *from = static_cast<const T *>(input);
		T *to = static_cast<T *>(output);
		for_lanes(spec->channels % PACKED_LANES == 0 && are_packable(from, to), [&](auto lanes) {
			auto kernel = average_pool<T, decltype(lanes)::value>;
			struct launch_shape shape =
				shape_rows(spec->n, (uint64_t)spec->output_height * spec->output_width,
					   spec->channels / decltype(lanes)::value);
			KERNEL_LAUNCH(kernel, shape, stream, *spec, from, to);
		});
	});
}

template <typename T, int LANES>
static __global__ void average_pool_backward(struct pool_kernel s, const T *__restrict__ output_gradient,
					     T *__restrict__ input_gradient)
{
	uint32_t channel = row_column() * LANES;
	if (channel >= s.channels)
		return;
	uint32_t positions = s.height * s.width;
	for (uint64_t n = blockIdx.z; n < s.n; n += gridDim.z)
		for (uint64_t p = row_begin(); p < positions; p += row_step()) {
			uint32_t y = (uint32_t)p / s.width, x = (uint32_t)p % s.width;
			uint32_t bottom = share_end(y, s.output_height, s.height);
			uint32_t right = share_end(x, s.output_width, s.width);
			float sums[LANES] = {}, values[LANES];
			for (uint32_t oh = share_begin(y, s.output_height, s.height); oh < bottom; oh++)
				for (uint32_t ow = share_begin(x, s.output_width, s.width); ow < right; ow++) {
					uint32_t rows = share_end(oh, s.height, s.output_height) -
							share_begin(oh, s.height, s.output_height);
					uint32_t columns = share_end(ow, s.width, s.output_width) -
							   share_begin(ow, s.width, s.output_width);
					load<T, LANES>(output_gradient +
							       ((n * s.output_height + oh) * s.output_width + ow) *
								       s.channels +
							       channel,
						       values);
					for (int i = 0; i < LANES; i++)
						sums[i] += values[i] / (float)(rows * columns);
				}
			store<T, LANES>(input_gradient + (n * positions + p) * s.channels + channel, sums);
		}
}

cudaError_t kernel_average_pool_backward(cudaStream_t stream, enum data_type type, const struct pool_kernel *spec,
					 const void *output_gradient, void *input_gradient)
{
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		const T *from = static_cast<const T *>(output_gradient);
		T *to = static_cast<T *>(input_gradient);
		for_lanes(spec->channels % PACKED_LANES == 0 && are_packable(from, to), [&](auto lanes) {
			auto kernel = average_pool_backward<T, decltype(lanes)::value>;
			struct launch_shape shape = shape_rows(spec->n, (uint64_t)spec->height * spec->width,
							       spec->channels / decltype(lanes)::value);
			KERNEL_LAUNCH(kernel, shape, stream, *spec, from, to);
		});
	});
}
