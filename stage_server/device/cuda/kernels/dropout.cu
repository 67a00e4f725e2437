// Dropout with the draws of stage_server/device/cpu/dropout.c: element e of sample s, counted as NCHW lies, is word e % 4 of the Philox
// block at counter (s, e / 4). Here elements lie NHWC.
#include "stage_server/device/cuda/kernels/device.cuh"

// random_block of common/base/random.c; a test compares the two.
static inline __device__ void philox(struct random_key key, uint64_t low, uint64_t high, uint32_t ret_words[4])
{
	uint32_t c0 = (uint32_t)low, c1 = (uint32_t)(low >> 32), c2 = (uint32_t)high, c3 = (uint32_t)(high >> 32);
	uint32_t k0 = key.word[0], k1 = key.word[1];
	for (int round = 0; round < 10; round++) {
		uint64_t product_0 = (uint64_t)0xD2511F53u * c0;
		uint64_t product_1 = (uint64_t)0xCD9E8D57u * c2;
		c0 = (uint32_t)(product_1 >> 32) ^ c1 ^ k0;
		c2 = (uint32_t)(product_0 >> 32) ^ c3 ^ k1;
		c1 = (uint32_t)product_1;
		c3 = (uint32_t)product_0;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	ret_words[0] = c0;
	ret_words[1] = c1;
	ret_words[2] = c2;
	ret_words[3] = c3;
}

static inline __device__ bool is_kept(uint32_t word, float probability)
{
	return (float)(word >> 8) * 0x1p-24f >= probability;
}

// With one position, neighbours in memory are neighbours in the draw: four share a block. Else each draws its own, which is four
// times the arithmetic, for the one small tensor between a network's features and its classifier.
template <typename T, int LANES>
static __global__ void dropout(struct dropout_kernel s, float scale, T *__restrict__ values, uint8_t *__restrict__ mask)
{
	uint32_t channel = row_column() * LANES;
	if (channel >= s.channels)
		return;
	for (uint64_t n = blockIdx.z; n < s.n; n += gridDim.z)
		for (uint64_t p = row_begin(); p < s.positions; p += row_step()) {
			uint64_t at = (n * s.positions + p) * s.channels + channel;
			uint64_t draw = (uint64_t)channel * s.positions + p;
			uint32_t words[4];
			philox(s.key, s.first_sample + n, draw / 4, words);
			if (LANES == 1) { // no index that a compiler cannot know: the words stay in registers
				uint32_t pair = draw % 4 < 2 ? words[0] : words[2];
				uint32_t other = draw % 4 < 2 ? words[1] : words[3];
				words[0] = draw % 2 == 0 ? pair : other;
			}
			float kept[LANES];
			pack<uint8_t, LANES> keep;
			load<T, LANES>(values + at, kept);
			for (int i = 0; i < LANES; i++) {
				keep.lane[i] = is_kept(words[i], s.probability);
				kept[i] = keep.lane[i] ? kept[i] * scale : kept[i] - kept[i];
			}
			store<T, LANES>(values + at, kept);
			*reinterpret_cast<pack<uint8_t, LANES> *>(mask + at) = keep;
		}
}

static float scale_of(const struct dropout_kernel *spec)
{
	return spec->probability < 1.0f ? 1.0f / (1.0f - spec->probability) : 0.0f;
}

cudaError_t kernel_dropout(cudaStream_t stream, enum data_type type, const struct dropout_kernel *spec, void *values,
			   uint8_t *mask)
{
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		T *at = static_cast<T *>(values);
		bool packed = spec->positions == 1 && spec->channels % PACKED_LANES == 0 && are_packable(at) &&
			      are_packable(mask);
		for_lanes(packed, [&](auto lanes) {
			auto kernel = dropout<T, decltype(lanes)::value>;
			struct launch_shape shape =
				shape_rows(spec->n, spec->positions, spec->channels / decltype(lanes)::value);
			KERNEL_LAUNCH(kernel, shape, stream, *spec, scale_of(spec), at, mask);
		});
	});
}

template <typename T, int LANES>
static inline __device__ void dropout_backward_lanes(float scale, const uint8_t *mask, T *gradient)
{
	float values[LANES];
	pack<uint8_t, LANES> keep = *reinterpret_cast<const pack<uint8_t, LANES> *>(mask);
	load<T, LANES>(gradient, values);
	for (int i = 0; i < LANES; i++)
		values[i] = keep.lane[i] ? values[i] * scale : values[i] - values[i];
	store<T, LANES>(gradient, values);
}

template <typename T, int LANES>
static __global__ void dropout_backward(uint64_t count, float scale, const uint8_t *__restrict__ mask,
					T *__restrict__ gradient)
{
	uint64_t packs = count / LANES;
	for (uint64_t i = flat_begin(); i < packs; i += flat_step())
		dropout_backward_lanes<T, LANES>(scale, mask + i * LANES, gradient + i * LANES);
	if (flat_begin() < count % LANES)
		dropout_backward_lanes<T, 1>(scale, mask + packs * LANES + flat_begin(),
					     gradient + packs * LANES + flat_begin());
}

cudaError_t kernel_dropout_backward(cudaStream_t stream, enum data_type type, const struct dropout_kernel *spec,
				    const uint8_t *mask, void *gradient)
{
	uint64_t count = (uint64_t)spec->n * spec->positions * spec->channels;
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		T *at = static_cast<T *>(gradient);
		for_lanes(are_packable(at) && are_packable(mask), [&](auto lanes) {
			auto kernel = dropout_backward<T, decltype(lanes)::value>;
			KERNEL_LAUNCH(kernel, shape_flat(count / decltype(lanes)::value), stream, count, scale_of(spec),
				      mask, at);
		});
	});
}
