// Tells who waits for a copy that it is over. A copy's stream records an event; a thread waits for the events in their order and makes
// the calls, so that the executor's thread never waits for the device. One of these stands behind each copy stream: what waits
// for the one direction does not hold up the other.
#pragma once

#include <cuda_runtime_api.h>
#include <stdbool.h>

#include "common/base/error.h"
#include "stage_server/device/device.h"

struct completions;

// Makes the thread and all events. The GPU must be the calling thread's.
bool completions_create(int gpu, struct completions **ret_completions, struct error *error);
// Takes NULL. Every completion was called when it returns.
void completions_destroy(struct completions *completions);
// Calls it once all that was issued on `stream` up to now is done, or failed; always the same stream. Not called where this returns
// false. From one thread. Waits only while there are as many under way as there are events (COMPLETIONS_UNDER_WAY).
bool completions_add(struct completions *completions, cudaStream_t stream, struct device_completion completion,
		     struct error *error);

enum { COMPLETIONS_UNDER_WAY = 256 };
