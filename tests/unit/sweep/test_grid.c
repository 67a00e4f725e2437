// The cells of an experiment: their order, the empty ones, and lists that make no sense.
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/sweep/grid.h"

static void parse_of_the_originals_lists_gives_cells_by_micro_batch_then_nodes_then_pipeline_size(void **state)
{
	static const struct cell expected[] = {{1, 0, 128}, {1, 2, 128}, {2, 0, 128}, {2, 2, 128},
					       {1, 0, 64},  {1, 2, 64},  {2, 0, 64},  {2, 2, 64}};
	struct grid grid;
	struct error error = {0};
	assert_true(grid_parse("0,2", "128,64", "1,2", &grid, &error));
	assert_int_equal(grid_count(&grid), 8);
	for (uint32_t i = 0; i < 8; i++) {
		struct cell cell = grid_cell(&grid, i);
		assert_memory_equal(&cell, &expected[i], sizeof(cell));
	}
	assert_int_equal(grid_most_nodes(&grid), 2);
}

static void parse_of_unsorted_lists_keeps_their_order(void **state)
{
	struct grid grid;
	struct error error = {0};
	assert_true(grid_parse("4,0,1", "7", "3,1", &grid, &error));
	assert_int_equal(grid_count(&grid), 6);
	struct cell first = grid_cell(&grid, 0), last = grid_cell(&grid, 5);
	assert_memory_equal(&first, (&(struct cell){3, 4, 7}), sizeof(first));
	assert_memory_equal(&last, (&(struct cell){1, 1, 7}), sizeof(last));
	assert_int_equal(grid_most_nodes(&grid), 3);
}

static void parse_of_a_bad_list_names_the_option_and_the_word(void **state)
{
	static const struct {
		const char *pipeline_sizes, *micro_batch_sizes, *nodes, *option, *word;
	} rows[] = {
		{"0,two", "8", "1", "--pipeline-sizes", "\"two\""},
		{"0,65", "8", "1", "--pipeline-sizes", "\"65\""},
		{"-1", "8", "1", "--pipeline-sizes", "\"-1\""},
		{"0,2,0", "8", "1", "--pipeline-sizes", "\"0\""},
		{"0,+0", "8", "1", "--pipeline-sizes", "\"+0\""},
		{"", "8", "1", "--pipeline-sizes", "\"\""},
		{"0,", "8", "1", "--pipeline-sizes", "\"\""},
		{"0", "8,0", "1", "--micro-batches", "\"0\""},
		{"0", "8,,4", "1", "--micro-batches", "\"\""},
		{"0", "8 4", "1", "--micro-batches", "\"8 4\""},
		{"0", "8", "0", "--nodes", "\"0\""},
		{"0", "8", "1,4,4", "--nodes", "\"4\""},
		{"0", "8", "5000", "--nodes", "\"5000\""},
		{"0", "99999999999", "1", "--micro-batches", "99999999999"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct grid grid;
		struct error error = {0};
		if (grid_parse(rows[i].pipeline_sizes, rows[i].micro_batch_sizes, rows[i].nodes, &grid, &error))
			fail_msg("row %zu was taken", i);
		assert_int_equal(error.code, ERROR_USAGE);
		if (strstr(error.message, rows[i].option) == NULL || strstr(error.message, rows[i].word) == NULL)
			fail_msg("row %zu: %s", i, error.message);
	}
}

static void parse_of_more_values_than_a_list_may_have_is_refused(void **state)
{
	char text[8 * (GRID_MAXIMUM_VALUES + 1)] = "1";
	struct grid grid;
	struct error error = {0};
	for (int i = 2; i <= GRID_MAXIMUM_VALUES; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ",%d", i);
	assert_true(grid_parse("0", "1", text, &grid, &error));
	assert_int_equal(grid_count(&grid), GRID_MAXIMUM_VALUES);
	strcat(text, ",99");
	assert_false(grid_parse("0", "1", text, &grid, &error));
	assert_non_null(strstr(error.message, "\"99\""));
}

static void is_empty_with_more_stages_than_devices_says_both_numbers(void **state)
{
	char reason[GRID_REASON_SIZE] = "untouched";
	assert_false(cell_is_empty(&(struct cell){2, 4, 8}, 4, reason, sizeof(reason)));
	assert_string_equal(reason, "untouched");
	assert_true(cell_is_empty(&(struct cell){2, 4, 8}, 2, reason, sizeof(reason)));
	assert_string_equal(reason, "4 stages, but 2 nodes with 2 devices");
	assert_true(cell_is_empty(&(struct cell){1, 2, 8}, 1, reason, sizeof(reason)));
	assert_string_equal(reason, "2 stages, but 1 node with 1 device");
}

static void is_empty_with_devices_left_over_says_how_many(void **state)
{
	char reason[GRID_REASON_SIZE];
	assert_true(cell_is_empty(&(struct cell){8, 3, 8}, 8, reason, sizeof(reason)));
	assert_string_equal(reason, "8 devices do not divide evenly by 3 stages: 2 would be left over");
}

static void is_empty_without_a_pipeline_never_is(void **state)
{
	char reason[GRID_REASON_SIZE];
	for (uint32_t devices = 1; devices <= 8; devices++) {
		assert_false(cell_is_empty(&(struct cell){devices, 0, 8}, devices, reason, sizeof(reason)));
		assert_int_equal(cell_stages(&(struct cell){devices, 0, 8}), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_of_the_originals_lists_gives_cells_by_micro_batch_then_nodes_then_pipeline_size),
		cmocka_unit_test(parse_of_unsorted_lists_keeps_their_order),
		cmocka_unit_test(parse_of_a_bad_list_names_the_option_and_the_word),
		cmocka_unit_test(parse_of_more_values_than_a_list_may_have_is_refused),
		cmocka_unit_test(is_empty_with_more_stages_than_devices_says_both_numbers),
		cmocka_unit_test(is_empty_with_devices_left_over_says_how_many),
		cmocka_unit_test(is_empty_without_a_pipeline_never_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
