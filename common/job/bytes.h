// Bytes that somebody else holds: tokens, and ids of groups. Plain data; any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct byte_span {
	const uint8_t *data; // borrowed
	size_t size;
};
