// Memory of programs: whole regions from the kernel, backed when they are made, so that a step neither faults pages in nor
// finds out that there are none. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum { MEMORY_PAGE_BYTES = 4096 };

// `bytes` is a multiple of a page; 0 gives NULL. Zeroed, at the border of a huge page.
bool memory_map(uint64_t bytes, uint8_t **ret_memory, struct error *error);
void memory_unmap(uint8_t *memory, uint64_t bytes); // takes NULL
