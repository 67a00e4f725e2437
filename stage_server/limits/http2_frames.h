// How many streams a client begins, read off the bytes that it sends (RFC 9113, 4.1), before gRPC makes a call of each: who begins and resets
// them faster than they can be ended keeps its threads busy with nothing else, so that nobody is left to count. What TLS has
// encrypted is not looked into.
// Pure data; one thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP2_FRAME_HEADER_BYTES = 9, HTTP2_PREFACE_BYTES = 24 };

// Begins as zeros.
struct http2_frames {
	uint64_t seen; // bytes, until the preface is over
	bool opaque;   // not HTTP/2 in the clear
	uint32_t left; // bytes of the frame's payload
	uint8_t header[HTTP2_FRAME_HEADER_BYTES];
	uint8_t header_bytes; // that are here
	uint32_t last_stream;
};

// Takes the next bytes; returns how many streams began in them.
uint32_t http2_frames_take(struct http2_frames *frames, const uint8_t *bytes, size_t count);
