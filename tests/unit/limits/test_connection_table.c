// Entries by descriptor and by peer; no sockets.
#include "tests/unit/cmocka_all.h"

#include "stage_server/limits/connection_table.h"

static struct connection_table table;
static const struct peer_host host = {.version = 4, .words = {0x7f000001}};

static int end(void **state)
{
	connection_table_fini(&table);
	assert_int_equal(table.count, 0);
	return 0;
}

static void add_of_a_connection_is_found_by_descriptor_and_by_what_grpc_calls_it(void **state)
{
	assert_true(connection_table_add(&table, 7, "127.0.0.1:4711", &host, 5));
	struct connection *connection = connection_table_find(&table, 7);
	assert_non_null(connection);
	assert_int_equal(connection->accepted_ns, 5);
	assert_true(peer_host_is(&connection->host, &host));
	assert_ptr_equal(connection_table_find_peer(&table, "ipv4:127.0.0.1:4711"), connection);
	assert_true(connection_table_may_have(&table, 7));
	assert_null(connection_table_find(&table, 6));
	assert_null(connection_table_find(&table, 1000000));
	assert_null(connection_table_find(&table, -1));
	assert_null(connection_table_find_peer(&table, "ipv4:127.0.0.1:4712"));
	assert_false(connection_table_may_have(&table, 6));
	assert_false(connection_table_may_have(&table, -1));
}

static void add_of_a_descriptor_that_is_there_takes_the_place_of_the_old_one(void **state)
{
	assert_true(connection_table_add(&table, 7, "127.0.0.1:4711", &host, 5));
	assert_true(connection_table_add(&table, 7, "127.0.0.1:4712", &host, 6));
	assert_int_equal(table.count, 1);
	assert_null(connection_table_find_peer(&table, "ipv4:127.0.0.1:4711"));
	assert_ptr_equal(connection_table_find_peer(&table, "ipv4:127.0.0.1:4712"), connection_table_find(&table, 7));
}

static void find_peer_of_a_unix_socket_finds_none(void **state)
{
	assert_true(connection_table_add(&table, 7, "unix", &host, 5));
	assert_null(connection_table_find_peer(&table, "unix:"));
	assert_non_null(connection_table_find(&table, 7));
}

static void remove_takes_one_and_leaves_the_others(void **state)
{
	assert_true(connection_table_add(&table, 7, "unix", &host, 5));
	assert_true(connection_table_add(&table, 300, "unix", &host, 5)); // in the same bucket
	assert_true(connection_table_remove(&table, 7));
	assert_false(connection_table_remove(&table, 7));
	assert_null(connection_table_find(&table, 7));
	assert_false(connection_table_may_have(&table, 7));
	assert_non_null(connection_table_find(&table, 300));
	assert_int_equal(table.count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(add_of_a_connection_is_found_by_descriptor_and_by_what_grpc_calls_it, end),
		cmocka_unit_test_teardown(add_of_a_descriptor_that_is_there_takes_the_place_of_the_old_one, end),
		cmocka_unit_test_teardown(find_peer_of_a_unix_socket_finds_none, end),
		cmocka_unit_test_teardown(remove_takes_one_and_leaves_the_others, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
