// See stand_in.h. What cudart's neighbours (cuDNN, cuBLASLt) need of the stand-in.
#pragma once

#include <cuda_runtime_api.h>
#include <functional>

#include "stand_in.h"

// As a launch does it: `work` runs on the stream's thread after all that was issued to the stream before; it must own what it
// captures. Counts as an operation of stand_in_fail_after, and does not run after a fault. False where the stream is none, or another
// device's than the thread's: cudaGetLastError says so. Any thread.
bool stand_in_enqueue(cudaStream_t stream, std::function<void()> work);

// CUDA loads code when it is first used on a device, which takes memory and may wait for all that runs there: it counts as an
// allocation.
void stand_in_load(const void *code);

// For a launch that could not be issued: the calling thread's cudaGetLastError says so.
void stand_in_set_error(cudaError_t error);
