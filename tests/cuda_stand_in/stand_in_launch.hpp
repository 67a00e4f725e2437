// See stand_in.h. What a .cu file needs to be a C++ file: the built-in variables, shared memory, barriers, and launches. Included by
// stage_server/device/cuda/kernels/device.cuh in place of <<<>>>.
//
// Threads of a block run one after another, or, where the kernel has barriers, as fibers from barrier to barrier. Both in order of
// their index, so a barrier that is missing shows as a wrong result, mostly. Blocks run one after another.
#pragma once

#include <cuda_runtime_api.h>
#include <functional>
#include <tuple>
#include <type_traits>

#include "stand_in.hpp"

extern __thread uint3 threadIdx, blockIdx, blockDim, gridDim;

// A stream's thread runs one block at a time, so what a block shares is the thread's.
#undef __shared__
#define __shared__ static thread_local

void __syncthreads();

// Whether a GPU would take the shape; otherwise cudaGetLastError says that it would not.
bool stand_in_accepts(dim3 grid, dim3 block);
// Runs `thread` for each thread of the grid.
void stand_in_run(dim3 grid, dim3 block, bool barriers, const std::function<void()> &thread);

template <typename... Parameters, typename... Arguments>
static inline void stand_in_launch(bool barriers, void (*kernel)(Parameters...), dim3 grid, dim3 block,
				   cudaStream_t stream, Arguments... arguments)
{
	if (!stand_in_accepts(grid, block))
		return;
	stand_in_load(reinterpret_cast<const void *>(kernel));
	std::tuple<std::decay_t<Parameters>...> values(arguments...); // a launch copies its arguments
	stand_in_enqueue(stream, [=] { stand_in_run(grid, block, barriers, [&] { std::apply(kernel, values); }); });
}

#define KERNEL_LAUNCH(kernel, shape, stream, ...)                                                                      \
	stand_in_launch(false, kernel, (shape).grid, (shape).block, stream, __VA_ARGS__)
#define KERNEL_LAUNCH_BARRIERS(kernel, shape, stream, ...)                                                             \
	stand_in_launch(true, kernel, (shape).grid, (shape).block, stream, __VA_ARGS__)
