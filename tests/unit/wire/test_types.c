// The enums of the wire: each value of the contract has one of ours, and back.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "common/wire/internal.h"
#include "grpc/health/v1/health.pb-c.h"
#include "penstock/v1/stage_server.pb-c.h"

static void table_has_each_value_of_the_contract(void **state)
{
	static const struct {
		const struct enum_table *table;
		const ProtobufCEnumDescriptor *type;
		size_t without; // values that nothing of ours is
	} cases[] = {
		{&wire_data_types, &penstock__v1__data_type__descriptor, 2}, // unspecified, uint8
		{&wire_layer_kinds, &penstock__v1__layer_kind__descriptor, 1},
		{&wire_instruction_kinds, &penstock__v1__instruction_kind__descriptor, 1},
		{&wire_batch_kinds, &penstock__v1__batch__kind__descriptor, 1},
		{&wire_tensor_kinds, &penstock__v1__tensor_kind__descriptor, 0},
		{&wire_health_states, &grpc__health__v1__health_check_response__serving_status__descriptor, 0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct enum_table *table = cases[i].table;
		if (table->count + cases[i].without != cases[i].type->n_values)
			fail_msg("%s has %u values, the table %zu", cases[i].type->name, cases[i].type->n_values,
				 table->count);
		for (size_t r = 0; r < table->count; r++) {
			assert_non_null(protobuf_c_enum_descriptor_get_value(cases[i].type, table->rows[r].theirs));
			assert_int_equal(enum_write(table, table->rows[r].ours), table->rows[r].theirs);
			assert_int_equal(enum_read(table, table->rows[r].theirs), table->rows[r].ours);
		}
	}
}

static void read_unknown_number_is_nothing_of_ours(void **state)
{
	assert_int_equal(enum_read(&wire_layer_kinds, 99), 99);
	assert_int_equal(enum_read(&wire_data_types, 2), -1); // uint8, which is not DATA_FLOAT16
	assert_int_equal(enum_read(&wire_data_types, 0), -1);
	assert_int_equal(enum_write(&wire_data_types, -1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_has_each_value_of_the_contract),
		cmocka_unit_test(read_unknown_number_is_nothing_of_ours),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
