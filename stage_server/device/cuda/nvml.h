// What the driver says of a GPU while it runs: NVIDIA's management library, NVML. The few declarations of it that are used stand
// here, since the toolkit may lack <nvml.h> and the library comes with the driver; their ABI is stable (NVML API Reference Guide,
// "Device Queries"). It needs no context of CUDA's, and makes none.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "stage_server/device/device.h"

typedef struct nvmlDevice_st *nvmlDevice_t;
typedef int nvmlReturn_t; // an enum of C there; 0: success

typedef struct nvmlUtilization_st {
	unsigned int gpu,
		memory; // percent of the last sample period in which a kernel ran, in which memory was accessed
} nvmlUtilization_t;

typedef struct nvmlMemory_st {
	unsigned long long total, free, used; // bytes
} nvmlMemory_t;

enum { NVML_SUCCESS = 0, NVML_TEMPERATURE_GPU = 0 };

nvmlReturn_t nvmlInit_v2(void);
nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *pci_bus_id, nvmlDevice_t *ret_device);
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *ret_device);
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *ret_utilization);
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *ret_memory);
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *ret_celsius);
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *ret_milliwatts);

// NVML's handles of a GPU. A part of one (MIG) is a device of its own to CUDA, with memory of its own; utilisation, temperature and power
// are the whole GPU's. NULL: NVML does not know it.
struct nvml_gpu {
	nvmlDevice_t whole, memory;
};

// `pci_bus_id` is "0000:3b:00.0", as cudaDeviceGetPCIBusId writes it; `uuid` as cudaDeviceProp has it, which is a part's own where it
// is one. Starts NVML, which may take a second where no other process uses the driver. Any thread.
void nvml_find(const char *pci_bus_id, const uint8_t uuid[16], struct nvml_gpu *ret_gpu);
// Fills all of it: what NVML says, NAN for what it does not. Any thread.
void nvml_sample(const struct nvml_gpu *gpu, struct device_sample *ret);
