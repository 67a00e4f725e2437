// The stand-in keeps the promises of the CUDA runtime that the device relies on, and the tests on the stand-in.
#include "tests/unit/cmocka_all.h"

#include <cuda_runtime_api.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <semaphore.h>
#include <unistd.h>

#include "stage_server/device/cuda/kernels/kernels.h"
#include "stand_in.h"

#define check(call) assert_int_equal((call), cudaSuccess)

static cudaStream_t stream_new(void)
{
	cudaStream_t stream;
	check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
	return stream;
}

static void *device_new(size_t bytes)
{
	void *memory;
	check(cudaMalloc(&memory, bytes));
	return memory;
}

static void *pinned_new(size_t bytes)
{
	void *memory;
	check(cudaMallocHost(&memory, bytes));
	return memory;
}

static void wait_for(void *semaphore)
{
	sem_wait(semaphore);
}

static void count(void *counter)
{
	atomic_fetch_add((atomic_int *)counter, 1);
}

static void streams_are_asynchronous_and_events_order_them(void **state)
{
	enum { FLOATS = 1000 };
	cudaStream_t first = stream_new(), second = stream_new();
	cudaEvent_t ready;
	check(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming));
	sem_t gate;
	sem_init(&gate, 0, 0);
	float *host = pinned_new(FLOATS * sizeof(float)), *device = device_new(FLOATS * sizeof(float));
	for (int i = 0; i < FLOATS; i++)
		host[i] = (float)i - 500.0f;
	check(cudaLaunchHostFunc(first, wait_for, &gate));
	check(cudaMemcpyAsync(device, host, FLOATS * sizeof(float), cudaMemcpyHostToDevice, first));
	check(cudaEventRecord(ready, first));
	check(cudaStreamWaitEvent(second, ready, 0));
	check(kernel_relu(second, DATA_FLOAT32, FLOATS, device));
	check(cudaMemcpyAsync(host, device, FLOATS * sizeof(float), cudaMemcpyDeviceToHost, second));
	assert_int_equal(cudaStreamQuery(second), cudaErrorNotReady);
	assert_int_equal(cudaEventQuery(ready), cudaErrorNotReady);
	assert_int_equal(cudaGetLastError(), cudaErrorNotReady); // as cudart
	sem_post(&gate);
	check(cudaStreamSynchronize(second));
	check(cudaEventQuery(ready));
	for (int i = 0; i < FLOATS; i++)
		assert_true(host[i] == (i > 500 ? (float)i - 500.0f : 0.0f));
	check(cudaStreamDestroy(first));
	check(cudaStreamDestroy(second));
	check(cudaEventDestroy(ready));
	check(cudaFree(device));
	check(cudaFreeHost(host));
	sem_destroy(&gate);
}

static void events_time_what_lies_between(void **state)
{
	cudaStream_t stream = stream_new();
	cudaEvent_t from, to;
	float milliseconds = -1.0f;
	check(cudaEventCreate(&from));
	check(cudaEventCreate(&to));
	assert_int_equal(cudaEventElapsedTime(&milliseconds, from, to), cudaErrorInvalidResourceHandle);
	check(cudaEventRecord(from, stream));
	check(cudaEventRecord(to, stream));
	check(cudaEventSynchronize(to));
	check(cudaEventElapsedTime(&milliseconds, from, to));
	assert_true(milliseconds >= 0.0f);
	check(cudaEventDestroy(from));
	check(cudaEventDestroy(to));
	check(cudaStreamDestroy(stream));
	cudaGetLastError();
}

// A launch copies its arguments, and a copy from pageable memory its source.
static void arguments_are_copied_at_the_call(void **state)
{
	cudaStream_t stream = stream_new();
	sem_t gate;
	sem_init(&gate, 0, 0);
	uint8_t pageable[4] = {1, 0, 1, 0};
	float values[4] = {1, 2, 3, 4};
	void *mask = device_new(sizeof(pageable)), *device = device_new(sizeof(values));
	check(cudaMemcpy(device, values, sizeof(values), cudaMemcpyHostToDevice));
	struct dropout_kernel spec = {.n = 1, .positions = 1, .channels = 4, .probability = 0.5f};
	check(cudaLaunchHostFunc(stream, wait_for, &gate));
	check(cudaMemcpyAsync(mask, pageable, sizeof(pageable), cudaMemcpyHostToDevice, stream));
	check(kernel_dropout_backward(stream, DATA_FLOAT32, &spec, mask, device));
	memset(pageable, 0, sizeof(pageable));
	memset(&spec, 0, sizeof(spec));
	sem_post(&gate);
	check(cudaStreamSynchronize(stream));
	check(cudaMemcpy(values, device, sizeof(values), cudaMemcpyDeviceToHost));
	assert_true(values[0] == 2.0f && values[1] == 0.0f && values[2] == 6.0f && values[3] == 0.0f);
	check(cudaStreamDestroy(stream));
	check(cudaFree(mask));
	check(cudaFree(device));
	sem_destroy(&gate);
}

static void memory_has_an_end_and_is_counted(void **state)
{
	size_t free_bytes, total_bytes;
	void *most, *more;
	setenv("PENSTOCK_STAND_IN_MEMORY", "1000000", 1);
	unsigned long before = stand_in_allocations();
	check(cudaMalloc(&most, 900000));
	assert_int_equal(cudaMalloc(&more, 200000), cudaErrorMemoryAllocation);
	assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
	check(cudaGetLastError());
	check(cudaMemGetInfo(&free_bytes, &total_bytes));
	assert_int_equal(total_bytes, 1000000);
	assert_int_equal(free_bytes, 100000);
	assert_int_equal(stand_in_allocations(), before + 1);
	check(cudaFree(most));
	check(cudaMalloc(&more, 200000));
	check(cudaFree(more));
	unsetenv("PENSTOCK_STAND_IN_MEMORY");
	assert_int_equal(cudaFree(&free_bytes), cudaErrorInvalidValue);
	cudaGetLastError();
}

static void copies_know_where_memory_is(void **state)
{
	char host[64] = {0};
	char *device = device_new(64);
	assert_int_equal(cudaMemcpy(host, host + 32, 32, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
	assert_int_equal(cudaMemcpy(device, host, 64, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
	assert_int_equal(cudaMemcpy(device + 32, host, 64, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
	assert_int_equal(cudaMemset(host, 0, 64), cudaErrorInvalidValue);
	check(cudaMemcpy(device, host, 64, cudaMemcpyDefault));
	struct cudaPointerAttributes attributes;
	check(cudaPointerGetAttributes(&attributes, device + 5));
	assert_int_equal(attributes.type, cudaMemoryTypeDevice);
	check(cudaPointerGetAttributes(&attributes, host));
	assert_int_equal(attributes.type, cudaMemoryTypeUnregistered);
	check(cudaFree(device));
	cudaGetLastError();
}

static void a_fault_stays_and_calls_no_host_function(void **state)
{
	cudaStream_t stream = stream_new();
	float *device = device_new(16 * sizeof(float)), *host = pinned_new(16 * sizeof(float));
	cudaEvent_t event;
	check(cudaEventCreate(&event));
	atomic_int calls = 0;
	sem_t gate;
	sem_init(&gate, 0, 0);
	memset(host, 0, 16 * sizeof(float));
	stand_in_fail_after(3);
	check(cudaLaunchHostFunc(stream, wait_for, &gate));
	check(cudaMemcpyAsync(device, host, 16 * sizeof(float), cudaMemcpyHostToDevice, stream));
	check(kernel_relu(stream, DATA_FLOAT32, 16, device));
	check(cudaLaunchHostFunc(stream, count, &calls));
	check(kernel_relu(stream, DATA_FLOAT32, 16, device)); // fails
	check(cudaLaunchHostFunc(stream, count, &calls));     // is not called
	check(cudaEventRecord(event, stream));
	sem_post(&gate);
	assert_int_equal(cudaEventSynchronize(event), cudaErrorIllegalAddress);
	assert_int_equal(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
	assert_int_equal(kernel_relu(stream, DATA_FLOAT32, 16, device), cudaErrorIllegalAddress);
	assert_int_equal(cudaLaunchHostFunc(stream, count, &calls), cudaErrorIllegalAddress);
	assert_int_equal(cudaGetLastError(), cudaErrorIllegalAddress);
	assert_int_equal(cudaGetLastError(), cudaErrorIllegalAddress); // not cleared
	void *more;
	assert_int_equal(cudaMalloc(&more, 16), cudaErrorIllegalAddress);
	assert_int_equal(atomic_load(&calls), 1);
	assert_int_equal(cudaFree(device), cudaErrorIllegalAddress); // frees all the same
	stand_in_recover();
	check(cudaStreamSynchronize(stream));
	check(cudaStreamDestroy(stream));
	check(cudaEventDestroy(event));
	check(cudaFreeHost(host));
	sem_destroy(&gate);
}

static void call_cuda(void *ret_status)
{
	int device;
	*(cudaError_t *)ret_status = cudaGetDevice(&device);
}

static void a_host_function_may_not_call_cuda(void **state)
{
	cudaStream_t stream = stream_new();
	cudaError_t status = cudaSuccess;
	check(cudaLaunchHostFunc(stream, call_cuda, &status));
	check(cudaStreamSynchronize(stream));
	assert_int_equal(status, cudaErrorNotPermitted);
	check(cudaStreamDestroy(stream));
}

// A stream created with no flags waits for the default stream, and it for that stream.
static void the_default_stream_orders_blocking_streams(void **state)
{
	cudaStream_t stream;
	check(cudaStreamCreate(&stream));
	sem_t gate;
	sem_init(&gate, 0, 0);
	int values[2] = {0, 0};
	int *device = device_new(sizeof(int)), *pinned = pinned_new(sizeof(int));
	check(cudaLaunchHostFunc(stream, wait_for, &gate));
	check(cudaMemsetAsync(device, 1, sizeof(int), stream));
	check(cudaMemcpyAsync(pinned, device, sizeof(int), cudaMemcpyDeviceToHost, NULL));
	check(cudaMemsetAsync(device, 2, sizeof(int), stream));
	sem_post(&gate);
	check(cudaMemcpy(&values[1], device, sizeof(int), cudaMemcpyDeviceToHost));
	values[0] = *pinned;
	assert_int_equal(values[0], 0x01010101);
	assert_int_equal(values[1], 0x02020202);
	check(cudaStreamDestroy(stream));
	check(cudaFree(device));
	check(cudaFreeHost(pinned));
	sem_destroy(&gate);
}

static void devices_are_described(void **state)
{
	int count = -1, major = 0;
	struct cudaDeviceProp properties;
	setenv("PENSTOCK_STAND_IN_CAPABILITY", "75", 1);
	check(cudaGetDeviceCount(&count));
	assert_int_equal(count, 1);
	check(cudaGetDeviceProperties(&properties, 0));
	check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
	assert_true(properties.major == 7 && properties.minor == 5 && major == 7);
	assert_int_equal(cudaSetDevice(1), cudaErrorInvalidDevice);
	setenv("PENSTOCK_STAND_IN_DEVICES", "2", 1);
	int device = -1;
	check(cudaGetDeviceCount(&count));
	check(cudaSetDevice(1));
	check(cudaGetDevice(&device));
	assert_true(count == 2 && device == 1);
	assert_int_equal(cudaSetDevice(2), cudaErrorInvalidDevice);
	check(cudaSetDevice(0));
	setenv("PENSTOCK_STAND_IN_DEVICES", "0", 1);
	assert_int_equal(cudaGetDeviceCount(&count), cudaErrorNoDevice);
	assert_int_equal(count, 0);
	unsetenv("PENSTOCK_STAND_IN_CAPABILITY");
	unsetenv("PENSTOCK_STAND_IN_DEVICES");
	assert_string_equal(cudaGetErrorName(cudaGetLastError()), "cudaErrorNoDevice");
	assert_string_equal(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
}

// As CUDA refuses them: what is of another device, and what is gone.
static void streams_and_events_belong_to_a_device(void **state)
{
	setenv("PENSTOCK_STAND_IN_DEVICES", "2", 1);
	cudaStream_t first = stream_new();
	cudaEvent_t event, later, elsewhere;
	float *device = device_new(16 * sizeof(float)), milliseconds;
	check(cudaEventCreate(&event));
	check(cudaEventCreate(&later));
	check(cudaSetDevice(1));
	cudaStream_t second = stream_new();
	check(cudaEventCreate(&elsewhere));
	check(cudaEventRecord(event, first));
	assert_int_equal(cudaEventRecord(event, second), cudaErrorInvalidResourceHandle);
	check(cudaStreamWaitEvent(second, event, 0)); // this may cross
	assert_int_equal(kernel_relu(first, DATA_FLOAT32, 16, device), cudaErrorInvalidResourceHandle);
	check(cudaEventRecord(elsewhere, second));
	check(cudaStreamSynchronize(second));
	assert_int_equal(cudaEventElapsedTime(&milliseconds, event, elsewhere), cudaErrorInvalidResourceHandle);
	check(cudaEventDestroy(later));
	assert_int_equal(cudaEventDestroy(later), cudaErrorInvalidResourceHandle);
	assert_int_equal(cudaStreamWaitEvent(second, later, 0), cudaErrorInvalidResourceHandle);
	check(cudaStreamDestroy(second));
	assert_int_equal(cudaStreamSynchronize(second), cudaErrorInvalidResourceHandle);
	check(cudaEventDestroy(event));
	check(cudaEventDestroy(elsewhere));
	check(cudaSetDevice(0));
	check(cudaStreamDestroy(first));
	check(cudaFree(device));
	unsetenv("PENSTOCK_STAND_IN_DEVICES");
	cudaGetLastError();
}

static void a_fault_is_of_one_device(void **state)
{
	setenv("PENSTOCK_STAND_IN_DEVICES", "2", 1);
	cudaStream_t healthy = stream_new();
	float *device = device_new(16 * sizeof(float));
	check(cudaSetDevice(1));
	cudaStream_t stream = stream_new();
	float *other = device_new(16 * sizeof(float));
	stand_in_fail_after(1);
	kernel_relu(stream, DATA_FLOAT32, 16, other);
	assert_int_equal(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
	check(cudaSetDevice(0));
	cudaGetLastError(); // the call that met it left it here
	check(kernel_relu(healthy, DATA_FLOAT32, 16, device));
	check(cudaStreamSynchronize(healthy));
	assert_int_equal(cudaSetDevice(1), cudaErrorIllegalAddress);
	assert_int_equal(cudaStreamDestroy(stream), cudaErrorIllegalAddress);
	assert_int_equal(cudaFree(other), cudaErrorIllegalAddress);
	check(cudaDeviceReset());
	assert_false(stand_in_has_context(1));
	check(cudaSetDevice(1));
	assert_true(stand_in_has_context(1));
	check(cudaSetDevice(0));
	check(cudaStreamDestroy(healthy));
	check(cudaFree(device));
	unsetenv("PENSTOCK_STAND_IN_DEVICES");
}

static void *free_pinned(void *memory)
{
	check(cudaFreeHost(memory));
	return NULL;
}

static void *copy_pageable(void *ret_over)
{
	enum { BYTES = 65 << 10 };
	atomic_int calls = 0;
	void *device = device_new(BYTES), *pageable = calloc(1, BYTES);
	cudaStream_t stream = stream_new();
	sem_t *gate = ret_over;
	assert_non_null(pageable);
	check(cudaLaunchHostFunc(stream, wait_for, gate));
	check(cudaLaunchHostFunc(stream, count, &calls));
	check(cudaMemcpyAsync(device, pageable, BYTES, cudaMemcpyHostToDevice, stream));
	assert_int_equal(atomic_load(&calls), 1); // it was waited for
	check(cudaStreamDestroy(stream));
	check(cudaFree(device));
	free(pageable);
	return NULL;
}

// What a GPU's driver waits for, though nobody asked: a copy of pageable memory that must be staged, and whatever may use pinned
// memory that is freed.
static void calls_wait_that_may_wait(void **state)
{
	pthread_t thread;
	sem_t gate;
	sem_init(&gate, 0, 0);
	assert_int_equal(pthread_create(&thread, NULL, copy_pageable, &gate), 0);
	usleep(20000);
	sem_post(&gate);
	pthread_join(thread, NULL);
	cudaStream_t stream = stream_new();
	void *pinned = pinned_new(16);
	atomic_int calls = 0;
	check(cudaLaunchHostFunc(stream, wait_for, &gate));
	check(cudaLaunchHostFunc(stream, count, &calls));
	assert_int_equal(pthread_create(&thread, NULL, free_pinned, pinned), 0);
	usleep(20000);
	assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
	sem_post(&gate);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&calls), 1);
	check(cudaStreamDestroy(stream));
	sem_destroy(&gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_are_asynchronous_and_events_order_them),
		cmocka_unit_test(events_time_what_lies_between),
		cmocka_unit_test(arguments_are_copied_at_the_call),
		cmocka_unit_test(memory_has_an_end_and_is_counted),
		cmocka_unit_test(copies_know_where_memory_is),
		cmocka_unit_test(a_fault_stays_and_calls_no_host_function),
		cmocka_unit_test(a_host_function_may_not_call_cuda),
		cmocka_unit_test(the_default_stream_orders_blocking_streams),
		cmocka_unit_test(devices_are_described),
		cmocka_unit_test(streams_and_events_belong_to_a_device),
		cmocka_unit_test(a_fault_is_of_one_device),
		cmocka_unit_test(calls_wait_that_may_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
