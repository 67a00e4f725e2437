// ExchangeMessage: what each of ours is on the wire, field by field, and back.
#include "tests/unit/cmocka_all.h"

#include <grpc/grpc.h>
#include <string.h>

#include "common/wire/exchange.h"
#include "common/wire/types.h"
#include "tests/unit/wire/coverage.h"

static struct wire_exchange *check(const struct wire_exchange *sample, const char *expected)
{
	struct wire_exchange *read = round_trip(&wire_exchange_codec, sample, expected);
	assert_int_equal(read->kind, sample->kind);
	return read;
}

static void open_shows_a_token(void **state)
{
	struct wire_exchange *read = check(
		&(struct wire_exchange){
			.kind = EXCHANGE_OPEN,
			.open = {.protocol_version = 4, .link_token = {(const uint8_t *)"ab", 2}, .connection = 3}},
		"{ open { protocol_version: 4 link_token: 6162 connection: 3 } }");
	assert_memory_equal(read->open.link_token.data, "ab", 2);
	wire_exchange_free(read);
	wire_exchange_free(check(&(struct wire_exchange){.kind = EXCHANGE_ACCEPTED}, "{ accepted { } }"));
	wire_exchange_free(
		check(&(struct wire_exchange){.kind = EXCHANGE_CREDIT, .credit = {7}}, "{ credit { tensors: 7 } }"));
	wire_exchange_free(check(&(struct wire_exchange){.kind = EXCHANGE_UNKNOWN}, "{ }"));
}

static void chunk_names_its_tensor(void **state)
{
	static const uint32_t shape[] = {64, 128, 16, 17};
	struct wire_exchange *read = check(&(struct wire_exchange){.kind = EXCHANGE_CHUNK,
								   .chunk = {.step = 1,
									     .micro_batch = 2,
									     .kind = TENSOR_GRADIENT_SUM,
									     .dtype = wire_data_type(DATA_BFLOAT16),
									     .shape = shape,
									     .rank = 4,
									     .offset_bytes = UINT64_C(1) << 33}},
					   "{ chunk { step: 1 micro_batch: 2 kind: TENSOR_KIND_GRADIENT_SUM dtype: "
					   "DATA_TYPE_BFLOAT16 shape: 64 shape: 128 shape: 16 shape: 17 offset_bytes: "
					   "8589934592 } }");
	assert_int_equal(read->chunk.kind, TENSOR_GRADIENT_SUM);
	assert_int_equal(read->chunk.dtype, wire_data_type(DATA_BFLOAT16));
	assert_memory_equal(read->chunk.shape, shape, sizeof(shape));
	assert_null(read->arena->blocks); // one small allocation is enough for what comes most often
	wire_exchange_free(read);
}

static void samples_set_each_field(void **state)
{
	demand_all_fields(wire_exchange_codec.type);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_shows_a_token), cmocka_unit_test(chunk_names_its_tensor),
		cmocka_unit_test(samples_set_each_field), // the last
	};
	grpc_init();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
