// Softmax cross-entropy, and its gradient.
#include <math.h>

#include "stage_server/device/cuda/kernels/device.cuh"

// A block takes ROWS rows at a time, LANES threads each.
enum { LANES = 32, ROWS = 16 };

struct softmax {
	float maximum, sum; // of exp(logit - maximum)
	uint32_t largest;   // the first of the largest logits
};

// Of the row that this thread's neighbours along x share; `classes` 0 where there is no row. Every thread of the block calls it and gets
// its row's answer. The lanes' shares are added in order by each lane for itself: 32 reads of shared memory, and no tree of barriers.
template <typename T> static inline __device__ struct softmax softmax_of(const T *logits, uint32_t classes)
{
	__shared__ float shares[ROWS][LANES];
	__shared__ uint32_t places[ROWS][LANES];
	float largest = -INFINITY;
	uint32_t place = UINT32_MAX;
	for (uint32_t c = threadIdx.x; c < classes; c += LANES) {
		float logit = widen(logits[c]);
		if (logit > largest) {
			largest = logit;
			place = c;
		}
	}
	shares[threadIdx.y][threadIdx.x] = largest;
	places[threadIdx.y][threadIdx.x] = place;
	__syncthreads();
	struct softmax softmax = {-INFINITY, 0.0f, UINT32_MAX};
	for (int i = 0; i < LANES; i++) {
		largest = shares[threadIdx.y][i];
		place = places[threadIdx.y][i];
		if (largest > softmax.maximum || (largest == softmax.maximum && place < softmax.largest)) {
			softmax.maximum = largest;
			softmax.largest = place;
		}
	}
	__syncthreads();
	float sum = 0.0f;
	for (uint32_t c = threadIdx.x; c < classes; c += LANES)
		sum += expf(widen(logits[c]) - softmax.maximum);
	shares[threadIdx.y][threadIdx.x] = sum;
	__syncthreads();
	for (int i = 0; i < LANES; i++)
		softmax.sum += shares[threadIdx.y][i];
	__syncthreads();
	return softmax;
}

// One block: the mean needs all rows, and there are as few as a micro-batch has samples.
template <typename T>
static __global__ void loss(uint32_t n, uint32_t classes, const T *__restrict__ logits,
			    const uint8_t *__restrict__ labels, float *__restrict__ ret_loss,
			    uint32_t *__restrict__ ret_correct)
{
	__shared__ double losses[ROWS];
	__shared__ uint32_t corrects[ROWS];
	double sum = 0.0;
	uint32_t correct = 0;
	for (uint32_t first = 0; first < n; first += ROWS) {
		uint32_t row = first + threadIdx.y;
		const T *at = logits + (uint64_t)row * classes;
		struct softmax softmax = softmax_of(at, row < n ? classes : 0);
		if (row < n) {
			uint8_t label = labels[row];
			sum += logf(softmax.sum) + (softmax.maximum - widen(at[label]));
			correct += softmax.largest == label;
		}
	}
	if (threadIdx.x == 0) {
		losses[threadIdx.y] = sum;
		corrects[threadIdx.y] = correct;
	}
	__syncthreads();
	if (threadIdx.x != 0 || threadIdx.y != 0)
		return;
	for (int i = 1; i < ROWS; i++) {
		sum += losses[i];
		correct += corrects[i];
	}
	*ret_loss = (float)(sum / n);
	*ret_correct = correct;
}

cudaError_t kernel_loss(cudaStream_t stream, enum data_type type, uint32_t n, uint32_t classes, const void *logits,
			const uint8_t *labels, float *ret_loss, uint32_t *ret_correct)
{
	struct launch_shape shape = {dim3(1), dim3(LANES, ROWS)};
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		auto kernel = loss<T>;
		KERNEL_LAUNCH_BARRIERS(kernel, shape, stream, n, classes, static_cast<const T *>(logits), labels,
				       ret_loss, ret_correct);
	});
}

template <typename T>
static __global__ void loss_backward(uint32_t n, uint32_t classes, const T *__restrict__ logits,
				     const uint8_t *__restrict__ labels, float scale, T *__restrict__ gradient)
{
	for (uint64_t first = (uint64_t)blockIdx.x * ROWS; first < n; first += (uint64_t)gridDim.x * ROWS) {
		uint64_t row = first + threadIdx.y;
		const T *at = logits + row * classes;
		struct softmax softmax = softmax_of(at, row < n ? classes : 0);
		if (row >= n)
			continue; // the loop ends for all threads of the block at once
		for (uint32_t c = threadIdx.x; c < classes; c += LANES) {
			float share = expf(widen(at[c]) - softmax.maximum) / softmax.sum;
			gradient[row * classes + c] = narrow<T>((share - (c == labels[row] ? 1.0f : 0.0f)) * scale);
		}
	}
}

cudaError_t kernel_loss_backward(cudaStream_t stream, enum data_type type, uint32_t n, uint32_t classes,
				 const void *logits, const uint8_t *labels, float scale, void *gradient)
{
	struct launch_shape shape = {dim3((unsigned)blocks_for(n, ROWS, MAXIMUM_BLOCKS)), dim3(LANES, ROWS)};
	return for_type(type, [&](auto element) {
		using T = decltype(element);
		auto kernel = loss_backward<T>;
		KERNEL_LAUNCH_BARRIERS(kernel, shape, stream, n, classes, static_cast<const T *>(logits), labels, scale,
				       static_cast<T *>(gradient));
	});
}
