// What the driver says of a GPU while it runs: NVIDIA's management library, NVML. The few declarations of it that are used stand
// here, since the toolkit may lack <nvml.h> and the library comes with the driver; their ABI is stable (NVML API Reference Guide,
// "Device Queries").
#pragma once

#include <stdbool.h>

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
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *ret_utilization);
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *ret_memory);
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *ret_celsius);
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *ret_milliwatts);

// Fills what NVML says of the GPU ("0000:3b:00.0", as cudaDeviceGetPCIBusId writes it), NAN for what it does not; always all
// of it. False where it says nothing: no NVML, or no such GPU. Any thread.
bool nvml_sample(const char *pci_bus_id, struct device_sample *ret);
