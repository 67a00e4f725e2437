// Images: planes of bytes of any size to the network's input, as stage_server/device/cpu/input.c does it: bilinear (align_corners
// false, no antialias, as torch.nn.functional.interpolate), divided by 255, normalised per channel.
#include "stage_server/device/cuda/kernels/device.cuh"

// What an output row or column is made of.
struct tap {
	uint32_t low, high;
	float weight; // of `high`
};

// In double, as on the CPU, so that both pick the same pixels; `scale` is raw / size.
static inline __device__ struct tap tap_of(uint32_t i, uint32_t raw, double scale)
{
	double source = (i + 0.5) * scale - 0.5;
	source = source < 0.0 ? 0.0 : source;
	uint32_t low = (uint32_t)source;
	low = low < raw ? low : raw - 1;
	return {low, low + 1 < raw ? low + 1 : low, (float)(source - low)};
}

static inline __device__ float blend(float low, float high, float weight)
{
	return (1.0f - weight) * low + weight * high;
}

// A thread makes all channels of one pixel, of one image after another where there are more than blocks.
template <typename T, int LANES>
static __global__ void resize_images(struct image_kernel spec, double scale, const uint8_t *__restrict__ images,
				     T *__restrict__ output)
{
	uint32_t x = row_column();
	if (x >= spec.size)
		return;
	struct tap across = tap_of(x, spec.raw_size, scale);
	uint64_t plane = (uint64_t)spec.raw_size * spec.raw_size;
	for (uint64_t y = row_begin(); y < spec.size; y += row_step()) {
		struct tap down = tap_of((uint32_t)y, spec.raw_size, scale);
		uint64_t top = (uint64_t)down.low * spec.raw_size, bottom = (uint64_t)down.high * spec.raw_size;
		for (uint64_t n = blockIdx.z; n < spec.n; n += gridDim.z) {
			const uint8_t *pixels = images + n * 3 * plane;
			T *to = output + ((n * spec.size + y) * spec.size + x) * spec.channels;
			for (uint32_t c = 0; c < spec.channels; c += LANES) {
				float values[LANES];
				for (int i = 0; i < LANES; i++) {
					values[i] = 0.0f;
					if (c + i >= 3)
						continue;
					const uint8_t *from = pixels + (c + i) * plane;
					float upper =
						blend(from[top + across.low], from[top + across.high], across.weight);
					float lower = blend(from[bottom + across.low], from[bottom + across.high],
							    across.weight);
					values[i] =
						(blend(upper, lower, down.weight) / 255.0f - spec.mean[(c + i) % 3]) /
						spec.standard_deviation[(c + i) % 3];
				}
				store<T, LANES>(to + c, values);
			}
		}
	}
}

cudaError_t kernel_images(cudaStream_t stream, enum data_type type, const struct image_kernel *spec,
			  const uint8_t *images, void *output)
{
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		T *to = static_cast<T *>(output);
		for_lanes(spec->channels % PACKED_LANES == 0 && are_packable(to), [&](auto lanes) {
			auto kernel = resize_images<T, decltype(lanes)::value>;
			KERNEL_LAUNCH(kernel, shape_rows(spec->n, spec->size, spec->size), stream, *spec,
				      (double)spec->raw_size / spec->size, images, to);
		});
	});
}
