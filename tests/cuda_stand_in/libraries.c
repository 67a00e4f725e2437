// In the place of stage_server/device/cuda/libraries.c: the libraries are there, linked in, and NVML knows one kind of GPU.
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cuda/libraries.h"
#include "stage_server/device/cuda/nvml.h"
#include "stand_in.h"

bool libraries_load(struct error *error)
{
	return true;
}

bool libraries_load_nccl(void)
{
	const char *there = getenv("PENSTOCK_STAND_IN_NCCL");
	return there == NULL || strcmp(there, "0") != 0;
}

bool libraries_load_nvml(void)
{
	return true;
}

nvmlReturn_t nvmlInit_v2(void)
{
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *pci_bus_id, nvmlDevice_t *ret_device)
{
	if (pci_bus_id == NULL || strchr(pci_bus_id, ':') == NULL)
		return 2; // NVML_ERROR_INVALID_ARGUMENT
	*ret_device = (nvmlDevice_t)(uintptr_t)1;
	return NVML_SUCCESS;
}

// No GPU is a part of another one here.
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *ret_device)
{
	return 6; // NVML_ERROR_NOT_FOUND
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *ret_utilization)
{
	*ret_utilization = (nvmlUtilization_t){.gpu = 50, .memory = 25};
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *ret_memory)
{
	size_t free_bytes = 0, total_bytes = 0;
	stand_in_memory(&free_bytes, &total_bytes);
	*ret_memory = (nvmlMemory_t){.total = total_bytes, .free = free_bytes, .used = total_bytes - free_bytes};
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *ret_celsius)
{
	*ret_celsius = 40;
	return NVML_SUCCESS;
}

// As on boards that do not measure it.
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *ret_milliwatts)
{
	return 3; // NVML_ERROR_NOT_SUPPORTED
}
