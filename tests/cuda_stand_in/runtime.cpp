// Errors, counters and the description of the stand-in's device. See stand_in.h.
#include "internal.hpp"

#include <set>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- errors. Relaxed: these order nothing, see internal.hpp.

enum { MAXIMUM_DEVICES = 8 };

static std::atomic<bool> faulted[MAXIMUM_DEVICES];
static std::atomic<bool> contexts[MAXIMUM_DEVICES];
static std::atomic<int> used[MAXIMUM_DEVICES];
static std::atomic<unsigned> flags[MAXIMUM_DEVICES];
static std::atomic<long> operations_left{0}; // 0: none is to fail
static std::atomic<unsigned long> allocation_count{0}, operation_count{0};
static thread_local cudaError_t last_error = cudaSuccess;
static thread_local bool in_host_function = false;
static thread_local int device_of_thread = 0;

bool is_faulted(int device)
{
	return faulted[device].load(std::memory_order_relaxed);
}

bool is_faulted()
{
	return is_faulted(device_of_thread);
}

void fault(int device)
{
	faulted[device].store(true, std::memory_order_relaxed);
}

void set_in_host_function(bool is_in)
{
	in_host_function = is_in;
}

cudaError_t answer(cudaError_t error)
{
	if (in_host_function) {
		fprintf(stderr, "CUDA stand-in: a host function made a CUDA call\n");
		return cudaErrorNotPermitted;
	}
	if (is_faulted())
		error = cudaErrorIllegalAddress;
	if (error != cudaSuccess)
		last_error = error;
	return error;
}

bool takes_fault()
{
	operation_count.fetch_add(1, std::memory_order_relaxed);
	long left = operations_left.load(std::memory_order_relaxed);
	while (left > 0 && !operations_left.compare_exchange_weak(left, left - 1, std::memory_order_relaxed))
		;
	return left == 1;
}

void count_allocation()
{
	allocation_count.fetch_add(1, std::memory_order_relaxed);
}

unsigned long stand_in_allocations(void)
{
	return allocation_count.load(std::memory_order_relaxed);
}

unsigned long stand_in_operations(void)
{
	return operation_count.load(std::memory_order_relaxed);
}

void stand_in_fail_after(long operations)
{
	operations_left.store(operations, std::memory_order_relaxed);
}

void stand_in_recover(void)
{
	operations_left.store(0, std::memory_order_relaxed);
	for (auto &each : faulted)
		each.store(false, std::memory_order_relaxed);
	last_error = cudaSuccess;
}

void stand_in_set_error(cudaError_t error)
{
	answer(error);
}

cudaError_t cudaPeekAtLastError(void)
{
	return is_faulted() ? cudaErrorIllegalAddress : last_error;
}

cudaError_t cudaGetLastError(void)
{
	cudaError_t error = cudaPeekAtLastError();
	last_error = cudaSuccess;
	return error;
}

// The errors that the stand-in gives, in cudart's words.
static const struct {
	cudaError_t error;
	const char *name, *text;
} errors[] = {
	{cudaSuccess, "cudaSuccess", "no error"},
	{cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
	{cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
	{cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
	{cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
	{cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
	{cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
	{cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
	{cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
	{cudaErrorNotPermitted, "cudaErrorNotPermitted", "operation not permitted"},
	{cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
};

const char *cudaGetErrorName(cudaError_t error)
{
	for (const auto &each : errors)
		if (each.error == error)
			return each.name;
	return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
	for (const auto &each : errors)
		if (each.error == error)
			return each.text;
	return "unrecognized error code";
}

// ---- the device

static int number(const char *variable, int otherwise)
{
	const char *text = getenv(variable);
	return text != NULL ? atoi(text) : otherwise;
}

static bool is_device(int device)
{
	return device >= 0 && device < MAXIMUM_DEVICES && device < number("PENSTOCK_STAND_IN_DEVICES", 1);
}

int current_device()
{
	return device_of_thread;
}

static cudaError_t make_context_of(int device)
{
	if (device == number("PENSTOCK_STAND_IN_FULL", -1) && !contexts[device])
		return answer(cudaErrorMemoryAllocation);
	contexts[device] = true;
	return answer(cudaSuccess);
}

cudaError_t make_context()
{
	return make_context_of(device_of_thread);
}

int stand_in_has_context(int device)
{
	return contexts[device];
}

void count_used(int device, int more)
{
	used[device].fetch_add(more, std::memory_order_relaxed);
}

// ---- code

static std::mutex loaded_mutex; // the issuers'

static std::set<const void *> &loaded(int device)
{
	static auto *all = new std::set<const void *>[MAXIMUM_DEVICES];
	return all[device];
}

void stand_in_load(const void *code)
{
	std::lock_guard<std::mutex> lock(loaded_mutex);
	if (loaded(device_of_thread).insert(code).second)
		count_allocation();
}

// ---- which device

static int capability()
{
	return number("PENSTOCK_STAND_IN_CAPABILITY", 80);
}

cudaError_t cudaGetDeviceCount(int *count)
{
	*count = number("PENSTOCK_STAND_IN_DEVICES", 1);
	return answer(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

// Makes the device's context, as CUDA 12 and later do. Where it cannot, the thread keeps the device that it had.
cudaError_t cudaSetDevice(int device)
{
	if (!is_device(device))
		return answer(cudaErrorInvalidDevice);
	int before = device_of_thread;
	device_of_thread = device;
	cudaError_t status = make_context();
	if (!contexts[device])
		device_of_thread = before;
	return status;
}

cudaError_t cudaSetDeviceFlags(unsigned value)
{
	unsigned schedule = value & cudaDeviceScheduleMask;
	if ((value & ~(unsigned)cudaDeviceMask) != 0 || (schedule & (schedule - 1)) != 0)
		return answer(cudaErrorInvalidValue);
	flags[device_of_thread] = value;
	return make_context();
}

cudaError_t cudaGetDeviceFlags(unsigned *ret_value)
{
	*ret_value = flags[device_of_thread];
	return answer(cudaSuccess);
}

// All that was on the device is gone for whoever has it still, on a real one; so here nobody may.
cudaError_t cudaDeviceReset(void)
{
	int device = device_of_thread;
	if (used[device] != 0) {
		fprintf(stderr,
			"CUDA stand-in: cudaDeviceReset of device %d, which has %d streams, events and allocations\n",
			device, (int)used[device]);
		abort();
	}
	operations_left.store(0, std::memory_order_relaxed);
	faulted[device].store(false, std::memory_order_relaxed);
	contexts[device] = false;
	flags[device] = 0;
	last_error = cudaSuccess;
	std::lock_guard<std::mutex> lock(loaded_mutex);
	loaded(device).clear();
	return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
	*device = device_of_thread;
	return answer(is_device(device_of_thread) ? cudaSuccess : cudaErrorNoDevice);
}

enum { PROCESSORS = 4, PROCESSOR_THREADS = 2048, BLOCK_THREADS_LIMIT = 1024, SHARED_BYTES = 48 * 1024 };

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
	if (!is_device(device))
		return answer(cudaErrorInvalidDevice);
	size_t free_bytes, total_bytes;
	stand_in_memory(&free_bytes, &total_bytes);
	memset(properties, 0, sizeof(*properties));
	snprintf(properties->name, sizeof(properties->name), "CPU as CUDA stand-in");
	properties->uuid.bytes[15] = (char)device;
	properties->totalGlobalMem = total_bytes;
	properties->sharedMemPerBlock = SHARED_BYTES;
	properties->warpSize = 32;
	properties->maxThreadsPerBlock = BLOCK_THREADS_LIMIT;
	properties->major = capability() / 10;
	properties->minor = capability() % 10;
	properties->multiProcessorCount = PROCESSORS;
	properties->maxThreadsPerMultiProcessor = PROCESSOR_THREADS;
	properties->unifiedAddressing = 1;
	properties->asyncEngineCount = 2;
	properties->concurrentKernels = 1;
	return answer(cudaSuccess);
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
	if (!is_device(device))
		return answer(cudaErrorInvalidDevice);
	switch (attribute) {
	case cudaDevAttrComputeCapabilityMajor:
		*value = capability() / 10;
		break;
	case cudaDevAttrComputeCapabilityMinor:
		*value = capability() % 10;
		break;
	case cudaDevAttrMultiProcessorCount:
		*value = PROCESSORS;
		break;
	case cudaDevAttrMaxThreadsPerBlock:
		*value = BLOCK_THREADS_LIMIT;
		break;
	case cudaDevAttrMaxThreadsPerMultiProcessor:
		*value = PROCESSOR_THREADS;
		break;
	case cudaDevAttrMaxSharedMemoryPerBlock:
		*value = SHARED_BYTES;
		break;
	case cudaDevAttrWarpSize:
		*value = 32;
		break;
	case cudaDevAttrIntegrated:
	case cudaDevAttrComputeMode:
		*value = 0;
		break;
	case cudaDevAttrUnifiedAddressing:
	case cudaDevAttrConcurrentKernels:
		*value = 1;
		break;
	case cudaDevAttrAsyncEngineCount:
		*value = 2;
		break;
	default: // loud: whoever asks for more adds it here
		fprintf(stderr, "CUDA stand-in: cudaDeviceGetAttribute %d is not known here\n", (int)attribute);
		return answer(cudaErrorInvalidValue);
	}
	return answer(cudaSuccess);
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int device)
{
	if (!is_device(device))
		return answer(cudaErrorInvalidDevice);
	snprintf(text, (size_t)size, "0000:%02x:00.0", (unsigned)device);
	return answer(cudaSuccess);
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
	*version = CUDART_VERSION;
	return answer(cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int *version)
{
	*version = CUDART_VERSION;
	return answer(cudaSuccess);
}
