// What NVML says of a GPU. See nvml.h.
#include "stage_server/device/cuda/nvml.h"

#include <math.h>
#include <pthread.h>

#include "stage_server/device/cuda/libraries.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_there;

// For the rest of the process, since shutting NVML down and starting it again takes longer than a sample; what it holds ends with
// the process.
static void start(void)
{
	is_there = libraries_load_nvml() && nvmlInit_v2() == NVML_SUCCESS;
}

bool nvml_sample(const char *pci_bus_id, struct device_sample *ret)
{
	*ret = (struct device_sample){NAN, NAN, NAN, NAN, NAN};
	nvmlDevice_t device = NULL;
	pthread_once(&once, start);
	if (!is_there || nvmlDeviceGetHandleByPciBusId_v2(pci_bus_id, &device) != NVML_SUCCESS)
		return false;
	nvmlMemory_t memory = {0};
	if (nvmlDeviceGetMemoryInfo(device, &memory) == NVML_SUCCESS) {
		ret->memory_used_bytes = (double)memory.used;
		ret->memory_free_bytes = (double)memory.free;
	}
	nvmlUtilization_t utilisation = {0};
	if (nvmlDeviceGetUtilizationRates(device, &utilisation) == NVML_SUCCESS)
		ret->utilisation = utilisation.gpu / 100.0;
	unsigned int celsius = 0, milliwatts = 0;
	if (nvmlDeviceGetTemperature(device, NVML_TEMPERATURE_GPU, &celsius) == NVML_SUCCESS)
		ret->temperature_celsius = celsius;
	if (nvmlDeviceGetPowerUsage(device, &milliwatts) == NVML_SUCCESS)
		ret->power_watts = milliwatts / 1000.0;
	return true;
}
