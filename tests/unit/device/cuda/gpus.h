// GPUs as cuDNN describes them (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION): what cudaDeviceProp says of them, from NVIDIA's data sheets
// and the table of compute capabilities in the CUDA C++ Programming Guide. cuDNN plans for a GPU that is described so without having it.
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

struct gpu {
	const char *name;
	uint32_t capability; // 75: 7.5
	uint32_t multiprocessors, blocks_per_multiprocessor, threads_per_multiprocessor;
	uint32_t shared_bytes_per_block; // that a kernel may ask for
	uint32_t cache_bytes, clock_khz, memory_clock_khz;
	uint64_t memory_bytes;
};

static const struct gpu gpus[] = {
	{"Tesla T4", 75, 40, 16, 1024, 65536, 4 << 20, 1590000, 5001000, 15ull << 30},
	{"NVIDIA A100-SXM4-80GB", 80, 108, 32, 2048, 166912, 40 << 20, 1410000, 1593000, 80ull << 30},
	{"NVIDIA GeForce RTX 4090", 89, 128, 24, 1536, 101376, 72 << 20, 2520000, 10501000, 24ull << 30},
	{"NVIDIA H100 80GB HBM3", 90, 132, 32, 2048, 232448, 50 << 20, 1980000, 2619000, 80ull << 30},
	{"NVIDIA B200", 100, 148, 32, 2048, 232448, 126 << 20, 1965000, 3996000, 180ull << 30},
	{"NVIDIA GeForce RTX 5090", 120, 170, 24, 1536, 101376, 96 << 20, 2407000, 14001000, 32ull << 30},
};
enum { GPUS = sizeof(gpus) / sizeof(gpus[0]) };

// What all of them have alike, and a driver of CUDA 13. The number of characters.
static inline int gpu_describe(const struct gpu *gpu, char *into, size_t size)
{
	return snprintf(
		into, size,
		"{\"deviceName\": \"%s\", \"cudaDeviceId\": 0, \"pciDeviceId\": 0, \"isTccDriver\": 0, "
		"\"supportCoopLaunch\": 1, \"driverVer\": 13000, \"deviceVer\": %u, \"multiProcessorCount\": %u, "
		"\"maxCtasPerSM\": %u, \"maxThreadsPerSM\": %u, \"maxThreadsPerBlock\": 1024, \"warpSize\": 32, "
		"\"maxRegistersPerSM\": 65536, \"regsPerBlock\": 65536, \"maxSharedMemoryPerBlock\": 49152, "
		"\"maxSharedMemoryPerBlockOptin\": %u, \"reservedSharedMemoryPerBlock\": %u, "
		"\"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, 1024, 64], "
		"\"l2CacheSize\": %u, \"smClockRateKHz\": %u, \"memClockRateKHz\": %u, "
		"\"totalGlobalMem\": %" PRIu64 "}",
		gpu->name, gpu->capability * 10, gpu->multiprocessors, gpu->blocks_per_multiprocessor,
		gpu->threads_per_multiprocessor, gpu->shared_bytes_per_block, gpu->capability >= 80 ? 1024 : 0,
		gpu->cache_bytes, gpu->clock_khz, gpu->memory_clock_khz, gpu->memory_bytes);
}
