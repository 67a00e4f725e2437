// Memory of the stand-in and copies. See stand_in.h.
//
// Each allocation is one of the host's, so that AddressSanitizer sees what goes beyond it. Its first 64 MiB are filled with bytes that are
// not a number in any of the element types: a GPU's memory is not zeroed either.
#include "internal.hpp"

#include <condition_variable>
#include <map>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <vector>

enum { PAGE = 4096, FILL_BYTES = 64 << 20, STAGED_BYTES = 64 << 10 };

struct allocation {
	size_t size;
	bool is_device;
	int device; // whose context has it
};

static std::mutex allocations_mutex; // the issuers'
static uint64_t device_bytes = 0;

static std::map<uintptr_t, allocation> &allocations()
{
	static auto *all = new std::map<uintptr_t, allocation>; // outlives every static object
	return *all;
}

// The allocation that [memory, memory + size) lies in, NULL if in none.
static const allocation *find(const void *memory, size_t size, uintptr_t *ret_begin = NULL)
{
	auto next = allocations().upper_bound((uintptr_t)memory);
	if (next == allocations().begin())
		return NULL;
	--next;
	if ((uintptr_t)memory + size > next->first + next->second.size ||
	    (uintptr_t)memory >= next->first + next->second.size)
		return NULL;
	if (ret_begin != NULL)
		*ret_begin = next->first;
	return &next->second;
}

static uint64_t capacity()
{
	const char *text = getenv("PENSTOCK_STAND_IN_MEMORY");
	return text != NULL ? strtoull(text, NULL, 10) : 8ull << 30;
}

// What others of the machine's processes have of it.
static uint64_t taken()
{
	const char *file = getenv("PENSTOCK_STAND_IN_TAKEN");
	struct stat status;
	uint64_t size = file != NULL && stat(file, &status) == 0 ? (uint64_t)status.st_size : 0;
	return size < capacity() ? size : capacity();
}

static uint64_t available()
{
	uint64_t left = capacity() - taken();
	return left > device_bytes ? left - device_bytes : 0;
}

static cudaError_t allocate(void **ret_memory, size_t size, bool is_device)
{
	cudaError_t status = make_context();
	if (status != cudaSuccess)
		return status;
	if (ret_memory == NULL)
		return answer(cudaErrorInvalidValue);
	*ret_memory = NULL;
	if (size == 0)
		return cudaSuccess;
	std::lock_guard<std::mutex> lock(allocations_mutex);
	void *memory = NULL;
	if ((is_device && size > available()) || posix_memalign(&memory, is_device ? 512 : PAGE, size) != 0)
		return answer(cudaErrorMemoryAllocation);
	memset(memory, 0xFF, size < FILL_BYTES ? size : (size_t)FILL_BYTES);
	allocations()[(uintptr_t)memory] = {size, is_device, current_device()};
	count_used(current_device(), 1);
	device_bytes += is_device ? size : 0;
	count_allocation();
	*ret_memory = memory;
	return cudaSuccess;
}

static cudaError_t release(void *memory, bool is_device)
{
	if (memory == NULL)
		return answer(cudaSuccess);
	{
		std::lock_guard<std::mutex> lock(allocations_mutex);
		auto found = allocations().find((uintptr_t)memory);
		if (found == allocations().end() || found->second.is_device != is_device)
			return answer(cudaErrorInvalidValue);
		device_bytes -= is_device ? found->second.size : 0;
		count_used(found->second.device, -1);
		allocations().erase(found);
	}
	free(memory);
	return answer(cudaSuccess);
}

cudaError_t cudaMalloc(void **memory, size_t size)
{
	return allocate(memory, size, true);
}

// After all that is in flight, as on a GPU.
cudaError_t cudaFree(void *memory)
{
	wait_for_device();
	return release(memory, true);
}

cudaError_t cudaHostAlloc(void **memory, size_t size, unsigned flags)
{
	if (flags & ~(unsigned)(cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined))
		return answer(cudaErrorInvalidValue);
	return allocate(memory, size, false);
}

cudaError_t cudaMallocHost(void **memory, size_t size)
{
	return allocate(memory, size, false);
}

cudaError_t cudaFreeHost(void *memory)
{
	wait_for_device();
	return release(memory, false);
}

void stand_in_memory(size_t *free_bytes, size_t *total_bytes)
{
	std::lock_guard<std::mutex> lock(allocations_mutex);
	*total_bytes = capacity();
	*free_bytes = available();
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
	stand_in_memory(free_bytes, total_bytes);
	return make_context();
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *memory)
{
	std::lock_guard<std::mutex> lock(allocations_mutex);
	const allocation *found = find(memory, 1);
	memset(attributes, 0, sizeof(*attributes));
	attributes->type = found == NULL      ? cudaMemoryTypeUnregistered
			   : found->is_device ? cudaMemoryTypeDevice
					      : cudaMemoryTypeHost;
	attributes->device = found == NULL ? -2 : found->device; // cudaInvalidDeviceId
	attributes->devicePointer = found != NULL ? const_cast<void *>(memory) : NULL;
	attributes->hostPointer = found != NULL && found->is_device ? NULL : const_cast<void *>(memory);
	return answer(cudaSuccess);
}

// ---- copies

enum place { DEVICE, PINNED, PAGEABLE };

static bool place_of(const void *memory, size_t size, enum place *ret_place)
{
	std::lock_guard<std::mutex> lock(allocations_mutex);
	const allocation *found = find(memory, size);
	*ret_place = found == NULL ? PAGEABLE : found->is_device ? DEVICE : PINNED;
	return found != NULL || find(memory, 1) == NULL; // false: it begins in an allocation and ends beyond
}

static bool kind_matches(enum cudaMemcpyKind kind, enum place to, enum place from)
{
	switch (kind) {
	case cudaMemcpyHostToHost:
		return to != DEVICE && from != DEVICE;
	case cudaMemcpyHostToDevice:
		return to == DEVICE && from != DEVICE;
	case cudaMemcpyDeviceToHost:
		return to != DEVICE && from == DEVICE;
	case cudaMemcpyDeviceToDevice:
		return to == DEVICE && from == DEVICE;
	default:
		return true;
	}
}

static std::mutex held_mutex;
static std::condition_variable held_changed;
static uintptr_t held_begin = 0, held_end = 0;

void stand_in_hold_copies(const void *memory, size_t size)
{
	std::lock_guard<std::mutex> lock(held_mutex);
	held_begin = (uintptr_t)memory;
	held_end = held_begin + size;
	held_changed.notify_all();
}

static bool is_held(const void *memory, size_t size)
{
	return (uintptr_t)memory < held_end && (uintptr_t)memory + size > held_begin;
}

static void copy(void *to, const void *from, size_t size)
{
	{
		std::unique_lock<std::mutex> lock(held_mutex);
		held_changed.wait(lock, [=] { return !is_held(to, size) && !is_held(from, size); });
	}
	memcpy(to, from, size);
}

// Pinned memory is the stream's until the copy is over. Pageable memory is copied aside before the call returns, or the call waits for
// it, as CUDA's "API synchronization behavior" says: the runtime "may synchronize with the stream" for what it has to stage, so
// here it does for all that is not small.
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t stream)
{
	enum place to_place, from_place;
	if (is_faulted() || size == 0)
		return answer(cudaSuccess);
	if (!place_of(to, size, &to_place) || !place_of(from, size, &from_place) ||
	    !kind_matches(kind, to_place, from_place))
		return answer(cudaErrorInvalidValue);
	if (!is_stream(stream))
		return answer(cudaErrorInvalidResourceHandle);
	if (from_place == PAGEABLE) {
		const char *bytes = static_cast<const char *>(from);
		auto aside = std::make_shared<std::vector<char>>(bytes, bytes + size);
		issue_operation(stream, [=] { memcpy(to, aside->data(), size); });
	} else {
		issue_operation(stream, [=] { copy(to, from, size); });
	}
	if (to_place == PAGEABLE || (from_place == PAGEABLE && size > STAGED_BYTES))
		wait_for_stream(stream);
	return answer(cudaSuccess);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind)
{
	cudaError_t status = cudaMemcpyAsync(to, from, size, kind, NULL);
	if (status == cudaSuccess)
		wait_for_stream(NULL);
	return answer(status);
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, cudaStream_t stream)
{
	enum place place;
	if (is_faulted() || size == 0)
		return answer(cudaSuccess);
	if (!place_of(memory, size, &place) || place == PAGEABLE)
		return answer(cudaErrorInvalidValue);
	if (!is_stream(stream))
		return answer(cudaErrorInvalidResourceHandle);
	return issue_operation(stream, [=] { memset(memory, value, size); });
}

// Does not wait, as on a GPU.
cudaError_t cudaMemset(void *memory, int value, size_t size)
{
	return cudaMemsetAsync(memory, value, size, NULL);
}
