// What the host has left. Linux overcommits: memory that the machine cannot back is given, and the process is killed when it
// touches it. So every device asks for what is left first. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

// ERROR_OUT_OF_MEMORY, with both numbers, where the machine or the process's control group has less left than that.
bool host_memory_check(uint64_t bytes, struct error *error);
