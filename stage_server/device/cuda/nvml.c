// What NVML says of a GPU. See nvml.h.
#include "stage_server/device/cuda/nvml.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "stage_server/device/cuda/libraries.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_there;

// For the rest of the process, since shutting NVML down and starting it again takes longer than a sample; what it holds ends with
// the process.
static void start(void)
{
	is_there = libraries_load_nvml() && nvmlInit_v2() == NVML_SUCCESS;
}

// "MIG-8-4-4-4-12 hexadecimal digits": a whole GPU's begins with "GPU-", so that it is not found by this.
static bool find_part(const uint8_t uuid[16], nvmlDevice_t *ret_device)
{
	char text[64] = "MIG-";
	size_t length = 4;
	for (int i = 0; i < 16; i++) {
		bool dash = i == 4 || i == 6 || i == 8 || i == 10;
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%02x", dash ? "-" : "", uuid[i]);
	}
	return nvmlDeviceGetHandleByUUID(text, ret_device) == NVML_SUCCESS;
}

void nvml_find(const char *pci_bus_id, const uint8_t uuid[16], struct nvml_gpu *ret_gpu)
{
	*ret_gpu = (struct nvml_gpu){0};
	pthread_once(&once, start);
	if (!is_there)
		return;
	if (nvmlDeviceGetHandleByPciBusId_v2(pci_bus_id, &ret_gpu->whole) != NVML_SUCCESS)
		ret_gpu->whole = NULL;
	if (!find_part(uuid, &ret_gpu->memory))
		ret_gpu->memory = ret_gpu->whole;
}

static void sample_memory(nvmlDevice_t device, struct device_sample *ret)
{
	nvmlMemory_t memory = {0};
	if (nvmlDeviceGetMemoryInfo(device, &memory) != NVML_SUCCESS)
		return;
	ret->memory_used_bytes = (double)memory.used;
	ret->memory_free_bytes = (double)memory.free;
}

static void sample_sensors(nvmlDevice_t device, struct device_sample *ret)
{
	nvmlUtilization_t utilisation = {0};
	if (nvmlDeviceGetUtilizationRates(device, &utilisation) == NVML_SUCCESS)
		ret->utilisation = utilisation.gpu / 100.0;
	unsigned int celsius = 0, milliwatts = 0;
	if (nvmlDeviceGetTemperature(device, NVML_TEMPERATURE_GPU, &celsius) == NVML_SUCCESS)
		ret->temperature_celsius = celsius;
	if (nvmlDeviceGetPowerUsage(device, &milliwatts) == NVML_SUCCESS)
		ret->power_watts = milliwatts / 1000.0;
}

void nvml_sample(const struct nvml_gpu *gpu, struct device_sample *ret)
{
	*ret = (struct device_sample){NAN, NAN, NAN, NAN, NAN};
	if (gpu->memory != NULL)
		sample_memory(gpu->memory, ret);
	if (gpu->whole != NULL)
		sample_sensors(gpu->whole, ret);
}
