// Streams are counted however the bytes are cut.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "stage_server/limits/http2_frames.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static size_t put_frame(uint8_t *into, uint8_t type, uint32_t stream, uint32_t bytes)
{
	uint8_t header[HTTP2_FRAME_HEADER_BYTES] = {
		(uint8_t)(bytes >> 16),  (uint8_t)(bytes >> 8),   (uint8_t)bytes,         type,           4,
		(uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
	memcpy(into, header, sizeof(header));
	memset(into + sizeof(header), 1, bytes); // what is inside is no frame
	return sizeof(header) + bytes;
}

static void http2_frames_take_counts_new_streams_in_pieces_of_any_size(void **state)
{
	static uint8_t bytes[70000];
	size_t count = HTTP2_PREFACE_BYTES;
	memcpy(bytes, preface, count);
	count += put_frame(bytes + count, 4, 0, 0); // SETTINGS
	count += put_frame(bytes + count, 1, 1, 300);
	count += put_frame(bytes + count, 0, 1, 66000); // DATA
	count += put_frame(bytes + count, 1, 1, 5);     // trailers
	count += put_frame(bytes + count, 1, 3, 0);
	count += put_frame(bytes + count, 3, 3, 4); // RST_STREAM
	count += put_frame(bytes + count, 1, 0x10005, 20);
	for (size_t piece = 1; piece <= count; piece = piece * 3 + 1) {
		struct http2_frames frames = {0};
		uint32_t begun = 0;
		for (size_t at = 0; at < count; at += piece)
			begun += http2_frames_take(&frames, bytes + at, at + piece < count ? piece : count - at);
		assert_int_equal(begun, 3);
	}
}

static void http2_frames_take_of_a_servers_stream_passes_over_it_alone(void **state)
{
	struct http2_frames frames = {0};
	uint8_t bytes[200];
	size_t count = HTTP2_PREFACE_BYTES;
	memcpy(bytes, preface, count);
	count += put_frame(bytes + count, 1, 0x7ffffffe, 5);
	count += put_frame(bytes + count, 1, 1, 5);
	count += put_frame(bytes + count, 1, 3, 5);
	assert_int_equal(http2_frames_take(&frames, bytes, count), 2);
}

static void http2_frames_take_of_what_is_no_http2_counts_nothing(void **state)
{
	struct http2_frames frames = {0};
	uint8_t bytes[200] = {0x16, 3, 1}; // TLS's ClientHello
	put_frame(bytes + 100, 1, 1, 10);
	assert_int_equal(http2_frames_take(&frames, bytes, sizeof(bytes)), 0);
	assert_true(frames.opaque);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http2_frames_take_counts_new_streams_in_pieces_of_any_size),
		cmocka_unit_test(http2_frames_take_of_a_servers_stream_passes_over_it_alone),
		cmocka_unit_test(http2_frames_take_of_what_is_no_http2_counts_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
