// What a stage has reserved, by purpose. Plain data; any thread.
#pragma once

#include <stdint.h>

struct stage_memory {
	uint64_t parameter_bytes, gradient_bytes, optimizer_bytes, stash_bytes, workspace_bytes, exchange_bytes;
};
