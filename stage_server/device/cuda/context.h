// The GPU's context, which all programs of this process on that GPU share. It takes some hundred MiB of the GPU's memory, so it is made
// for the first user, and not for whoever only looks. A kernel that faults (an illegal address, say) spoils it for all of them: each
// later call of CUDA fails. Once nobody uses it any more it is torn down, and the next user gets a new one, so that a fault
// ends the jobs of one GPU and not the daemon.
//
// Any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum { CONTEXT_MAXIMUM_GPUS = 64 };

// Makes the GPU the calling thread's and counts a user: a program, or a block of pinned memory. ERROR_FAILED while a spoiled
// context still has users, or cannot be replaced; ERROR_OUT_OF_MEMORY where the GPU has no room for a context.
bool context_acquire(int gpu, struct error *error);
void context_release(int gpu);
// The GPU's memory as CUDA sees it, for somebody who is no user. False where there is no context to ask, and while one is being made
// or replaced, which may take seconds.
bool context_memory(int gpu, size_t *ret_free_bytes, size_t *ret_total_bytes);
