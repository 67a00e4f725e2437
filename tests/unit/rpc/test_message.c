// The codec: what is sent is a protobuf message that anybody can read, what arrives in any slices is read again, and what
// is damaged is refused.
#include "tests/unit/cmocka_all.h"

#include "penstock/v1/stage_server.pb-c.h"
#include "tests/unit/rpc/incoming.h"

enum { PAYLOAD_BYTES = 1000 };

static Penstock__V1__TensorChunk chunk = PENSTOCK__V1__TENSOR_CHUNK__INIT;

static Penstock__V1__ExchangeMessage make_header(void)
{
	static uint32_t shape[] = {2, 3, 5};
	Penstock__V1__ExchangeMessage message = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	penstock__v1__tensor_chunk__init(&chunk);
	chunk.step = 7;
	chunk.micro_batch = 3;
	chunk.n_shape = 3;
	chunk.shape = shape;
	chunk.offset_bytes = UINT64_C(1) << 33;
	message.body_case = PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_CHUNK;
	message.chunk = &chunk;
	return message;
}

static struct buffer *make_payload(void)
{
	struct buffer *payload = buffer_create(PAYLOAD_BYTES + 10);
	for (size_t i = 0; i < payload->size; i++)
		payload->data[i] = (uint8_t)(i * 31);
	return payload;
}

// Header and payload as one run of bytes.
static size_t flatten(grpc_byte_buffer *buffer, uint8_t *into)
{
	const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
	size_t size = 0;
	for (size_t i = 0; i < slices->count; i++) {
		memcpy(into + size, GRPC_SLICE_START_PTR(slices->slices[i]), GRPC_SLICE_LENGTH(slices->slices[i]));
		size += GRPC_SLICE_LENGTH(slices->slices[i]);
	}
	return size;
}

static void message_encode_payload_is_the_buffers_own_memory(void **state)
{
	struct buffer *payload = make_payload();
	Penstock__V1__ExchangeMessage header = make_header();
	grpc_byte_buffer *encoded = message_encode(&header.base, payload, 10, PAYLOAD_BYTES);
	const grpc_slice_buffer *slices = &encoded->data.raw.slice_buffer;
	assert_int_equal(slices->count, 2);
	assert_ptr_equal(GRPC_SLICE_START_PTR(slices->slices[1]), payload->data + 10);
	assert_int_equal(atomic_load(&payload->references), 2);
	grpc_byte_buffer_destroy(encoded);
	assert_int_equal(atomic_load(&payload->references), 1);
	buffer_unref(payload);
}

static void message_encode_result_is_readable_by_protobuf(void **state)
{
	uint8_t bytes[PAYLOAD_BYTES + 200];
	struct buffer *payload = make_payload();
	Penstock__V1__ExchangeMessage header = make_header();
	grpc_byte_buffer *encoded = message_encode(&header.base, payload, 10, PAYLOAD_BYTES);
	size_t size = flatten(encoded, bytes);
	Penstock__V1__ExchangeMessage *read = penstock__v1__exchange_message__unpack(NULL, size, bytes);
	assert_non_null(read);
	assert_int_equal(read->chunk->step, 7);
	assert_int_equal(read->payload.len, PAYLOAD_BYTES);
	assert_memory_equal(read->payload.data, payload->data + 10, PAYLOAD_BYTES);
	penstock__v1__exchange_message__free_unpacked(read, NULL);
	grpc_byte_buffer_destroy(encoded);
	buffer_unref(payload);
}

static void message_inspect_any_slices_gives_header_and_payload(void **state)
{
	uint8_t bytes[PAYLOAD_BYTES + 200], copied[PAYLOAD_BYTES];
	struct buffer *payload = make_payload();
	Penstock__V1__ExchangeMessage header = make_header();
	grpc_byte_buffer *encoded = message_encode(&header.base, payload, 10, PAYLOAD_BYTES);
	size_t size = flatten(encoded, bytes);
	for (size_t cut = 1; cut < 70; cut++) {
		struct rpc_incoming incoming;
		grpc_byte_buffer *arrived = incoming_bytes(bytes, size, cut);
		message_inspect(arrived, &incoming);
		assert_null(incoming.malformed);
		assert_int_equal(rpc_incoming_payload_size(&incoming), PAYLOAD_BYTES);
		memset(copied, 0, sizeof(copied));
		rpc_incoming_copy_payload(&incoming, copied);
		assert_memory_equal(copied, payload->data + 10, PAYLOAD_BYTES);
		Penstock__V1__ExchangeMessage *read = (Penstock__V1__ExchangeMessage *)rpc_incoming_unpack(
			&incoming, &penstock__v1__exchange_message__descriptor, NULL, NULL);
		assert_non_null(read);
		assert_int_equal(read->chunk->offset_bytes, UINT64_C(1) << 33);
		assert_int_equal(read->payload.len, 0);
		penstock__v1__exchange_message__free_unpacked(read, NULL);
		grpc_byte_buffer_destroy(arrived);
	}
	grpc_byte_buffer_destroy(encoded);
	buffer_unref(payload);
}

// Every prefix of a good message is either refused, or happens to end between two fields.
static void message_inspect_cut_off_never_reads_beyond_the_end(void **state)
{
	uint8_t bytes[PAYLOAD_BYTES + 200];
	struct buffer *payload = make_payload();
	Penstock__V1__ExchangeMessage header = make_header();
	grpc_byte_buffer *encoded = message_encode(&header.base, payload, 10, PAYLOAD_BYTES);
	size_t size = flatten(encoded, bytes), refused = 0;
	for (size_t length = 1; length < size; length++) {
		struct rpc_incoming incoming;
		grpc_byte_buffer *arrived = incoming_bytes(bytes, length, 7);
		message_inspect(arrived, &incoming);
		refused += incoming.malformed != NULL;
		if (incoming.malformed != NULL)
			assert_int_equal(rpc_incoming_payload_size(&incoming), 0);
		grpc_byte_buffer_destroy(arrived);
	}
	assert_true(refused > PAYLOAD_BYTES); // the whole payload, and most of the header
	grpc_byte_buffer_destroy(encoded);
	buffer_unref(payload);
}

static void refuse(const uint8_t *bytes, size_t size, const char *why)
{
	struct rpc_incoming incoming;
	struct error error;
	grpc_byte_buffer *arrived = incoming_bytes(bytes, size, 0);
	message_inspect(arrived, &incoming);
	assert_null(rpc_incoming_unpack(&incoming, &penstock__v1__exchange_message__descriptor, NULL, &error));
	assert_int_equal(error.code, ERROR_PROTOCOL);
	assert_non_null(strstr(error.message, why));
	grpc_byte_buffer_destroy(arrived);
}

static void rpc_incoming_unpack_damaged_is_refused(void **state)
{
	refuse((const uint8_t[]){0x7a, 0x02, 1, 2, 0x08, 0x01}, 6, "last field");
	refuse((const uint8_t[]){0x7a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 11,
	       "longer than the message");
	refuse((const uint8_t[]){0x7a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, 12,
	       "longer than the message");
	refuse((const uint8_t[]){0x0f}, 1, "wire type");
	refuse((const uint8_t[]){0x00, 0x01}, 2, "tag");
	refuse((const uint8_t[]){0x1a, 0x7f, 0x00}, 3, "longer than the message");
	refuse((const uint8_t[]){0x1a, 0x01, 0xff}, 3, "other types"); // field 3 is a message, and this is none
}

static void message_inspect_header_over_the_limit_is_refused(void **state)
{
	size_t size = RPC_MAXIMUM_HEADER_BYTES + 6;
	uint8_t *bytes = calloc(1, size);
	memcpy(bytes, (const uint8_t[]){0x1a, 0x80, 0x80, 0x40}, 4); // field 3, 1 MiB long
	refuse(bytes, 4 + RPC_MAXIMUM_HEADER_BYTES, "1 MiB");
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_encode_payload_is_the_buffers_own_memory),
		cmocka_unit_test(message_encode_result_is_readable_by_protobuf),
		cmocka_unit_test(message_inspect_any_slices_gives_header_and_payload),
		cmocka_unit_test(message_inspect_cut_off_never_reads_beyond_the_end),
		cmocka_unit_test(rpc_incoming_unpack_damaged_is_refused),
		cmocka_unit_test(message_inspect_header_over_the_limit_is_refused),
	};
	grpc_init();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
