// A chunk of a parameter that is loaded or saved; its values travel beside it. Plain data; any thread.
#pragma once

#include <stdint.h>

struct parameter_chunk {
	const char *name;      // borrowed
	const uint32_t *shape; // [rank] of the whole parameter; borrowed
	uint32_t rank;
	uint64_t offset_bytes; // of the chunk in the parameter
};
