// A stand-in for the CUDA runtime, for tests on machines without a GPU: "device" memory is the host's, streams are threads, and
// kernels run on the CPU, one thread of the grid at a time. It proves the logic of the device's code: order, waits, sizes, errors,
// arithmetic. It does not prove that a GPU accepts that code, nor says anything of its speed.
//
// This part is for tests in C; stand_in.hpp is for stand-ins of the libraries beside it.
//
// Environment, read at each call that asks:
//   PENSTOCK_STAND_IN_MEMORY      bytes of the device's memory; 8 GiB otherwise
//   PENSTOCK_STAND_IN_TAKEN       a file, as large as what other processes took of that memory
//   PENSTOCK_STAND_IN_CAPABILITY  compute capability, as 75; 80 otherwise
//   PENSTOCK_STAND_IN_DEVICES     how many devices there are, up to 8, one memory for all; 1 otherwise
//   PENSTOCK_STAND_IN_FULL        a device on which others left no room for a context
//   PENSTOCK_STAND_IN_NCCL        0: the device's code finds no NCCL
//   PENSTOCK_STAND_IN_NCCL_NOTICES  set: members of a communicator notice when one aborts, as the real ones do over a network
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// How many allocations (device and pinned memory, streams, events, code that is loaded when it is first used) were made so far: a step
// makes none. Any thread.
unsigned long stand_in_allocations(void);

// How many operations (launches, copies, fills) were issued so far. Any thread.
unsigned long stand_in_operations(void);

// The operation that is issued as the `operations`-th from now fails when its turn comes, as a kernel does that
// touches what is not its own: it does nothing, nor does whatever comes after it on that device, host functions included; and every
// call of a thread that uses the device says cudaErrorIllegalAddress from then on. 0: none fails.
void stand_in_fail_after(long operations);
// From now on copies to or from any of those bytes of the host's pinned memory do not begin, nor does what is behind them in their
// streams; until it is called again, with other bytes or with NULL. Any thread.
void stand_in_hold_copies(const void *memory, size_t size);
// What no real runtime does: all faults are over and all streams work again. Only with nothing in flight.
void stand_in_recover(void);
// Whether the device has a context, which takes a few hundred MiB of a real one.
int stand_in_has_context(int device);
// The device's memory, as NVML tells it without a context.
void stand_in_memory(size_t *ret_free_bytes, size_t *ret_total_bytes);

#ifdef __cplusplus
}
#endif
