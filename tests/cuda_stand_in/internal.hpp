// What the files of the stand-in share. See stand_in.h.
//
// ThreadSanitizer must see the order that CUDA promises and no other: a lock that both a stream's thread and its issuers take would
// order their work by accident, and hide a wait that the device's code lacks. So issuers pass work on through a semaphore, which orders
// one way only, and a stream's thread takes locks only to complete what somebody waits for: an event, or a whole stream.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cuda_runtime_api.h>
#include <functional>
#include <memory>
#include <mutex>
#include <semaphore.h>
#include <stdint.h>
#include <thread>

#include "stand_in.hpp"

// ---- errors (runtime.cpp)

// What an API call returns: the fault of the thread's device if there was one, else `error`, which cudaGetLastError will repeat.
cudaError_t answer(cudaError_t error);
bool is_faulted(); // the thread's device
bool is_faulted(int device);
void set_in_host_function(bool is_in); // the calling thread: answer then says cudaErrorNotPermitted, and stderr why
void fault(int device);                // on a stream's thread
// Counts an operation as issued. True: it is to fail.
bool takes_fault();
void count_allocation();

// ---- devices (runtime.cpp)

int current_device();
// Of the thread's device, as the first call that needs it does. cudaErrorMemoryAllocation: see PENSTOCK_STAND_IN_FULL.
cudaError_t make_context();
// Streams, events and allocations of a device, which a reset would take from whoever has them.
void count_used(int device, int more);

// ---- streams (stream.cpp)

// A point in a stream's work that others wait for.
struct moment {
	std::mutex mutex;
	std::condition_variable changed;
	bool is_past = false;
	std::chrono::steady_clock::time_point time;

	void complete();
	void wait();
	bool poll();
};

bool is_stream(cudaStream_t stream); // and not destroyed; NULL is one
// Issues to a stream (NULL: the legacy default stream, which waits for blocking streams and they for it).
void issue(cudaStream_t stream, std::function<void()> work);
// The same for a launch, copy or fill: see stand_in_fail_after.
cudaError_t issue_operation(cudaStream_t stream, std::function<void()> work);
std::shared_ptr<moment> issue_moment(cudaStream_t stream);
void wait_for_stream(cudaStream_t stream);
void wait_for_device();
