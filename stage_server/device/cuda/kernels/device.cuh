// What the kernels share: element conversions, packs of lanes, the shapes of launches, the way from `enum data_type` to a template.
//
// Everything here and in *.cu is compiled with -fmad=false. The kernels are bound by memory, so multiply-adds would gain nothing; and
// without them an expression rounds where the CPU device (built with -ffp-contract=off) and PyTorch's single-tensor optimizers round.
// For the same reason never with -use_fast_math, -ftz=true, -prec-div=false or -prec-sqrt=false.
//
// The same sources run without a GPU: with PENSTOCK_CUDA_STAND_IN, g++ compiles them and tests/cuda_stand_in runs the grid.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <type_traits>

#include "stage_server/device/cuda/kernels/kernels.h"

// KERNEL_LAUNCH_BARRIERS is for kernels that call __syncthreads: the stand-in runs their threads side by side, the others' one
// after another.
#ifdef PENSTOCK_CUDA_STAND_IN
#include "stand_in_launch.hpp"
#else
#define KERNEL_LAUNCH(kernel, shape, stream, ...) kernel<<<(shape).grid, (shape).block, 0, stream>>>(__VA_ARGS__)
#define KERNEL_LAUNCH_BARRIERS                    KERNEL_LAUNCH
#endif

// ---- elements

static inline __device__ float widen(float value)
{
	return value;
}

static inline __device__ float widen(__nv_bfloat16 value)
{
	return __bfloat162float(value);
}

static inline __device__ float widen(__half value)
{
	return __half2float(value);
}

// Rounds to nearest, ties to even.
template <typename T> static inline __device__ T narrow(float value)
{
	if constexpr (std::is_same_v<T, float>)
		return value;
	else if constexpr (std::is_same_v<T, __nv_bfloat16>)
		return __float2bfloat16_rn(value);
	else
		return __float2half_rn(value);
}

// A thread moves LANES neighbours at once, 16 bytes of float32 or 8 of the short types: 4 where shape and alignment allow, or 1.
enum { PACKED_LANES = 4 };

template <typename T, int LANES> struct alignas(sizeof(T) * LANES) pack {
	T lane[LANES];
};

template <typename T, int LANES> static inline __device__ void load(const T *from, float (&ret_values)[LANES])
{
	pack<T, LANES> packed = *reinterpret_cast<const pack<T, LANES> *>(from);
	for (int i = 0; i < LANES; i++)
		ret_values[i] = widen(packed.lane[i]);
}

template <typename T, int LANES> static inline __device__ void store(T *to, const float (&values)[LANES])
{
	pack<T, LANES> packed;
	for (int i = 0; i < LANES; i++)
		packed.lane[i] = narrow<T>(values[i]);
	*reinterpret_cast<pack<T, LANES> *>(to) = packed;
}

// ---- host: from what the caller says to a template

// Calls launch(T()) with the element type, and returns what came of it.
template <typename Launch> static inline cudaError_t for_type(enum data_type type, Launch launch)
{
	switch (type) {
	case DATA_FLOAT32:
		launch(float());
		break;
	case DATA_BFLOAT16:
		launch(__nv_bfloat16());
		break;
	case DATA_FLOAT16:
		launch(__half());
		break;
	default:
		return cudaErrorInvalidValue;
	}
	return cudaGetLastError();
}

template <typename Launch>
static inline cudaError_t for_types(enum data_type from_type, enum data_type to_type, Launch launch)
{
	cudaError_t status = cudaSuccess;
	cudaError_t outer =
		for_type(from_type, [&](auto from) { status = for_type(to_type, [&](auto to) { launch(from, to); }); });
	return status != cudaSuccess ? status : outer;
}

// Calls launch(std::integral_constant<int, LANES>()).
template <typename Launch> static inline void for_lanes(bool packed, Launch launch)
{
	if (packed)
		launch(std::integral_constant<int, PACKED_LANES>());
	else
		launch(std::integral_constant<int, 1>());
}

// Whether each tensor starts where a pack may lie.
template <typename... T> static inline bool are_packable(const T *...tensors)
{
	return ((reinterpret_cast<uintptr_t>(tensors) % (sizeof(T) * PACKED_LANES) == 0) && ...);
}

// ---- shapes of launches

struct launch_shape {
	dim3 grid, block;
};

// More blocks than any GPU holds at once; beyond, threads go round again.
enum { BLOCK_THREADS = 256, MAXIMUM_BLOCKS = 16384 };

static inline uint64_t blocks_for(uint64_t items, uint64_t per_block, uint64_t limit)
{
	uint64_t blocks = items / per_block + (items % per_block != 0);
	blocks = blocks < limit ? blocks : limit;
	return blocks != 0 ? blocks : 1;
}

// A row of items: see flat_begin.
static inline struct launch_shape shape_flat(uint64_t items)
{
	return {dim3((unsigned)blocks_for(items, BLOCK_THREADS, MAXIMUM_BLOCKS)), dim3(BLOCK_THREADS)};
}

// (images, rows, columns), columns innermost: x counts columns and fills a block with rows where these are short, so that a
// warp's accesses stay together without a division. Every column has its thread; rows and images go round: see row_begin.
static inline struct launch_shape shape_rows(uint64_t images, uint64_t rows, uint64_t columns)
{
	unsigned width = 1;
	while (width < columns && width < BLOCK_THREADS)
		width *= 2;
	unsigned height = BLOCK_THREADS / width;
	uint64_t x = blocks_for(columns, width, INT32_MAX);
	uint64_t y = blocks_for(rows, height, x < MAXIMUM_BLOCKS ? MAXIMUM_BLOCKS / x : 1);
	uint64_t z = blocks_for(images, 1, x * y < MAXIMUM_BLOCKS ? MAXIMUM_BLOCKS / (x * y) : 1);
	return {dim3((unsigned)x, (unsigned)y, (unsigned)z), dim3(width, height)};
}

static inline __device__ uint64_t flat_begin()
{
	return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static inline __device__ uint64_t flat_step()
{
	return (uint64_t)gridDim.x * blockDim.x;
}

static inline __device__ uint32_t row_column()
{
	return blockIdx.x * blockDim.x + threadIdx.x;
}

static inline __device__ uint64_t row_begin()
{
	return (uint64_t)blockIdx.y * blockDim.y + threadIdx.y;
}

static inline __device__ uint64_t row_step()
{
	return (uint64_t)gridDim.y * blockDim.y;
}
