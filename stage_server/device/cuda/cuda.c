// The CUDA device's row in the table of devices, and what belongs to a GPU rather than to a program: its name, its memory, pinned
// memory of the host. Streams and the libraries' handles are a program's own (program.c).
#include "stage_server/device/cuda/cuda.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cuda/context.h"
#include "stage_server/device/cuda/libraries.h"
#include "stage_server/device/cuda/nvml.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

static void destroy(struct device *device)
{
	if (device == NULL)
		return;
	free(device);
}

// "2: cuda:0 (NVIDIA H100), cuda:1 (NVIDIA H100)"
static void list_gpus(int count, char *into, size_t size)
{
	size_t length = (size_t)snprintf(into, size, "%d", count);
	for (int i = 0; i < count && length < size; i++) {
		struct cudaDeviceProp properties;
		const char *name = cudaGetDeviceProperties(&properties, i) == cudaSuccess ? properties.name : "unknown";
		length +=
			(size_t)snprintf(into + length, size - length, "%s cuda:%d (%s)", i == 0 ? ":" : ",", i, name);
	}
}

// The number behind "cuda:"; 0 without one.
static bool find_gpu(const char *name, int *ret_index, struct error *error)
{
	const char *colon = strchr(name, ':');
	long index = colon != NULL ? strtol(colon + 1, NULL, 10) : 0;
	int count = 0;
	cudaError_t status = cudaGetDeviceCount(&count);
	if (status == cudaErrorInsufficientDriver || status == cudaErrorNoDevice)
		return error_set(error, ERROR_USAGE,
				 "there is no NVIDIA GPU here, or its driver is older than CUDA %d needs (%s): run "
				 "nvidia-smi, or start with --device cpu",
				 CUDART_VERSION / 1000, cudaGetErrorName(status));
	if (!cuda_ok(status, error, "look for GPUs"))
		return false;
	if (index < 0 || index >= count || index >= CONTEXT_MAXIMUM_GPUS) {
		char known[512];
		list_gpus(count, known, sizeof(known));
		return error_set(error, ERROR_USAGE, "there is no such GPU; CUDA finds %s", known);
	}
	*ret_index = (int)index;
	return true;
}

static bool describe_gpu(struct device *device, struct error *error)
{
	struct cudaDeviceProp properties;
	int runtime = 0, driver = 0;
	char pci_bus_id[20];
	if (!cuda_ok(cudaGetDeviceProperties(&properties, device->gpu), error, "query the GPU's properties") ||
	    !cuda_ok(cudaDeviceGetPCIBusId(pci_bus_id, sizeof(pci_bus_id), device->gpu), error,
		     "query the GPU's PCI address") ||
	    !cuda_ok(cudaRuntimeGetVersion(&runtime), error, "query CUDA's version") ||
	    !cuda_ok(cudaDriverGetVersion(&driver), error, "query the driver's version"))
		return false;
	nvml_find(pci_bus_id, (const uint8_t *)properties.uuid.bytes, &device->nvml);
	device->physical_bytes = properties.totalGlobalMem;
	device->capability = properties.major * 10 + properties.minor;
	size_t cudnn = cudnnGetVersion();
	snprintf(device->description, sizeof(device->description),
		 "%s, CUDA %d.%d, driver for CUDA %d.%d, cuDNN %zu.%zu.%zu", properties.name, runtime / 1000,
		 runtime % 1000 / 10, driver / 1000, driver % 1000 / 10, cudnn / 10000, cudnn % 10000 / 100,
		 cudnn % 100);
	snprintf(device->machine, sizeof(device->machine), "%.64s/driver=%d/cudnn=%zu/cublaslt=%zu/workspace=%lluMiB",
		 properties.name, driver, cudnn, cublasLtGetVersion(), CUDA_WORKSPACE_LIMIT_BYTES >> 20);
	for (char *c = device->machine; *c != '\0'; c++)
		if (*c == ' ' || *c == '\t')
			*c = '-';
	return true;
}

static bool create(const struct device_options *options, struct device **ret_device, struct error *error)
{
	struct device *device = calloc(1, sizeof(*device));
	if (device == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	if (!libraries_load(error) || !find_gpu(options->name, &device->gpu, error) || !describe_gpu(device, error)) {
		destroy(device);
		return error_wrap(error, "open device %s", options->name);
	}
	device->has_nccl = libraries_load_nccl();
	*ret_device = device;
	return true;
}

static void describe(const struct device *device, struct device_info *ret_info)
{
	*ret_info = (struct device_info){.physical_bytes = device->physical_bytes, .exchange_is_device = true};
	snprintf(ret_info->name, sizeof(ret_info->name), "cuda:%d", device->gpu);
	snprintf(ret_info->group, sizeof(ret_info->group), "%s", device->has_nccl ? "nccl" : "");
	snprintf(ret_info->description, sizeof(ret_info->description), "%s", device->description);
	snprintf(ret_info->machine, sizeof(ret_info->machine), "%s", device->machine);
}

// NVML's where it has it, so that looking at an idle GPU makes no context.
static void sample(const struct device *device, struct device_sample *ret_sample)
{
	size_t free_bytes = 0, total_bytes = 0;
	nvml_sample(&device->nvml, ret_sample);
	if (isnan(ret_sample->memory_used_bytes) && context_memory(device->gpu, &free_bytes, &total_bytes)) {
		ret_sample->memory_free_bytes = (double)free_bytes;
		ret_sample->memory_used_bytes = (double)(total_bytes - free_bytes);
	}
}

// Pinned, for every GPU of the process: copies run beside kernels, at the bus's full speed.
static void *host_allocate(struct device *device, size_t bytes)
{
	void *memory = NULL;
	if (!context_acquire(device->gpu, NULL))
		return NULL;
	if (cuda_ok(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable), NULL, "allocate pinned memory"))
		return memory;
	context_release(device->gpu);
	return NULL;
}

static void host_free(struct device *device, void *memory)
{
	if (memory == NULL)
		return;
	cuda_ok(cudaSetDevice(device->gpu), NULL, "use the GPU");
	cuda_ok(cudaFreeHost(memory), NULL, "free pinned memory");
	context_release(device->gpu);
}

// The GPU's own: a stage's output is read by the next one where it was written, also by one on another GPU of the process.
static void *exchange_allocate(struct device *device, size_t bytes)
{
	void *memory = NULL;
	if (!context_acquire(device->gpu, NULL))
		return NULL;
	if (cuda_ok(cudaMalloc(&memory, bytes), NULL, "allocate memory for tensors between stages"))
		return memory;
	context_release(device->gpu);
	return NULL;
}

static void exchange_free(struct device *device, void *memory)
{
	if (memory == NULL)
		return;
	cuda_ok(cudaSetDevice(device->gpu), NULL, "use the GPU");
	cuda_ok(cudaFree(memory), NULL, "free memory for tensors between stages");
	context_release(device->gpu);
}

const struct device_ops cuda_device_ops = {
	.name = "cuda",
	.create = create,
	.destroy = destroy,
	.describe = describe,
	.sample = sample,
	.host_allocate = host_allocate,
	.host_free = host_free,
	.exchange_allocate = exchange_allocate,
	.exchange_free = exchange_free,
	.program_create = cuda_program_create,
	.program_allocate = cuda_program_allocate,
	.program_destroy = cuda_program_destroy,
	.program_memory = cuda_program_memory,
	.write_parameter = cuda_write_parameter,
	.read_parameter = cuda_read_parameter,
	.read_gradient = cuda_read_gradient,
	.write_gradient = cuda_write_gradient,
	.group_id = cuda_group_id,
	.group_join = cuda_group_join,
	.group_reduce = cuda_group_reduce,
	.group_wait = cuda_group_wait,
	.load_images = cuda_load_images,
	.load_labels = cuda_load_labels,
	.write_input = cuda_write_input,
	.read_output = cuda_read_output,
	.write_output_gradient = cuda_write_output_gradient,
	.read_input_gradient = cuda_read_input_gradient,
	.forward = cuda_forward,
	.loss = cuda_loss,
	.read_losses = cuda_read_losses,
	.loss_backward = cuda_loss_backward,
	.backward_weight = cuda_backward_weight,
	.backward_input = cuda_backward_input,
	.zero_gradients = cuda_zero_gradients,
	.gradient_squares = cuda_gradient_squares,
	.optimizer_step = cuda_optimizer_step,
	.synchronize = cuda_synchronize,
	.mark = cuda_mark,
	.elapsed = cuda_elapsed,
};
