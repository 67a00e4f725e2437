// See http2_frames.h.
#include "stage_server/limits/http2_frames.h"

enum { TYPE_HEADERS = 1 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static bool begins_stream(struct http2_frames *frames)
{
	const uint8_t *header = frames->header;
	uint32_t stream =
		(uint32_t)(header[5] & 0x7f) << 24 | (uint32_t)header[6] << 16 | (uint32_t)header[7] << 8 | header[8];
	frames->left = (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];
	frames->header_bytes = 0;
	// The second ones of a stream are its trailers. gRPC passes over a stream with a server's number, and over none that comes after it.
	if (header[3] != TYPE_HEADERS || stream % 2 == 0 || stream <= frames->last_stream)
		return false;
	frames->last_stream = stream;
	return true;
}

// ThreadSanitizer does not see how gRPC's threads hand their memory on, and would stop at each header to report a race that is none.
__attribute__((no_sanitize("thread"))) uint32_t http2_frames_take(struct http2_frames *frames, const uint8_t *bytes,
								  size_t count)
{
	uint32_t begun = 0;
	const uint8_t *end = bytes + count;
	while (bytes < end && frames->seen < HTTP2_PREFACE_BYTES && !frames->opaque)
		frames->opaque = *bytes++ != (uint8_t)preface[frames->seen++];
	while (bytes < end && !frames->opaque) {
		if (frames->left > 0) {
			size_t skipped = (size_t)(end - bytes) < frames->left ? (size_t)(end - bytes) : frames->left;
			bytes += skipped;
			frames->left -= (uint32_t)skipped;
			continue;
		}
		frames->header[frames->header_bytes++] = *bytes++;
		if (frames->header_bytes == HTTP2_FRAME_HEADER_BYTES)
			begun += begins_stream(frames);
	}
	return begun;
}
