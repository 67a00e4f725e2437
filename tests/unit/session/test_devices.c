// Slots, and what of their memory outlives them.
#include "tests/unit/cmocka_all.h"

#include <malloc.h>
#include <string.h>

#include "stage_server/session/devices.h"

static struct devices *open_twice(void)
{
	struct devices_options options = {.names = {"cpu", "cpu:0"}, .count = 2, .threads = 1};
	struct devices *devices = NULL;
	struct error error;
	if (!devices_open(&options, &devices, &error))
		fail_msg("%s", error.message);
	return devices;
}

static void devices_open_one_device_twice_is_two_slots_of_it(void **state)
{
	struct devices *devices = open_twice();
	assert_int_equal(devices_count(devices), 2);
	assert_true(devices_is_first(devices, 0));
	assert_false(devices_is_first(devices, 1));
	assert_ptr_equal(devices_slot(devices, 0)->ledger, devices_slot(devices, 1)->ledger);
	devices_close(devices);
}

// gRPC may hold a tensor that it was to send for longer than the daemon knows of anybody who needs it.
static void devices_close_while_memory_is_lent_leaves_who_takes_it_back(void **state)
{
	mallopt(M_PERTURB, 0x5a); // what is freed is no device any more
	for (uint32_t i = 0; i < 2; i++) {
		struct devices *devices = open_twice();
		struct buffer_memory memory =
			i == 0 ? devices_slot(devices, 0)->memory : devices_slot(devices, 1)->exchange_memory;
		struct buffer_pool *pool = buffer_pool_create(1 << 20, 1, &memory);
		struct buffer *tensor = buffer_pool_take(pool);
		buffer_pool_destroy(pool);
		devices_close(devices);
		memset(tensor->data, 1, tensor->size);
		buffer_unref(tensor);
		devices_close(devices); // now all is back
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_open_one_device_twice_is_two_slots_of_it),
		cmocka_unit_test(devices_close_while_memory_is_lent_leaves_who_takes_it_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
