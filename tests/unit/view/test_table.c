// Columns line up whatever stands in them; bars are as long as they should be.
#include "tests/unit/cmocka_all.h"

#include <stdlib.h>

#include "coordinator/view/bar.h"
#include "coordinator/view/table.h"
#include "coordinator/view/text.h"

static void assert_table(struct table *table, const char *expected)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	assert_true(table_write(table, 0, out));
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
	table_destroy(table);
}

static const struct table_column columns[] = {{"NAME", false}, {"COUNT", true}, {"END", false}};

static void table_write_aligns_columns(void **state)
{
	struct table *table = table_create(columns, 3);
	table_cell(table, "a");
	table_cell(table, "%d", 1);
	table_cell(table, "x");
	table_cell(table, "much longer");
	table_cell(table, "%d", 1234567);
	table_cell(table, "yy");
	assert_int_equal(table_offset(table, 1), 13);
	assert_int_equal(table_offset(table, 2), 22);
	assert_table(table, "NAME           COUNT  END\n"
			    "a                  1  x\n"
			    "much longer  1234567  yy\n");
}

static void table_write_wraps_rows_that_are_too_wide(void **state)
{
	for (uint32_t width = 12; width <= 13; width++) {
		char *text = NULL;
		size_t size = 0;
		FILE *out = open_memstream(&text, &size);
		struct table *table = table_create(columns, 3);
		table_cell(table, "a");
		table_cell(table, "%d", 123);
		table_cell(table, "x");
		assert_true(table_write(table, width + 3, out)); // it is 16 wide
		fclose(out);
		assert_string_equal(text, width == 12 ? "NAME\n  COUNT  END\na\n    123  x\n"
						      : "NAME  COUNT  END\na       123  x\n");
		free(text);
		table_destroy(table);
	}
}

static void table_write_counts_columns_not_bytes(void **state)
{
	struct table *table = table_create(columns, 3);
	table_cell(table, "\u00e9\u65e5"); // 1 and 2 columns, 2 and 3 bytes
	table_cell(table, "1");
	table_cell(table, "x");
	assert_table(table, "NAME  COUNT  END\n"
			    "\u00e9\u65e5       1  x\n");
}

static void table_cell_of_a_peer_cannot_steer_the_terminal(void **state)
{
	struct table *table = table_create(columns, 3);
	table_cell(table, "%s", "\x1b[2J\n");
	table_cell(table, "1");
	table_cell(table, "%s", "\xff");
	assert_table(table, "NAME   COUNT  END\n"
			    "?[2J?      1  ?\n");
}

static void table_write_leaves_out_a_row_that_is_not_whole(void **state)
{
	struct table *table = table_create(columns, 3);
	table_cell(table, "a");
	assert_table(table, "NAME  COUNT  END\n");
}

static void text_fit_cuts_to_columns_and_says_so(void **state)
{
	char into[32];
	assert_string_equal(text_fit("abcdef", 6, into, sizeof(into)), "abcdef");
	assert_string_equal(text_fit("abcdef", 5, into, sizeof(into)), "abcd\u2026");
	assert_string_equal(text_fit("\u65e5\u65e5\u65e5", 4, into, sizeof(into)),
			    "\u65e5\u2026"); // 3 columns: no half characters
	assert_string_equal(text_fit("abcdef", 1, into, sizeof(into)), "\u2026");
}

static void bar_draw_divides_the_width(void **state)
{
	char bar[21];
	bar_draw((const double[PHASE_COUNT]){[PHASE_FORWARD] = 0.25, [PHASE_BACKWARD] = 0.5, [PHASE_WAIT_NEXT] = 0.1},
		 20, bar);
	assert_string_equal(bar, "FFFFFBBBBBBBBBB>>...");
}

static void bar_draw_more_than_the_whole_is_scaled(void **state)
{
	char bar[11];
	bar_draw((const double[PHASE_COUNT]){[PHASE_FORWARD] = 1.0, [PHASE_WAIT_COORDINATOR] = 1.0}, 10, bar);
	assert_string_equal(bar, "FFFFF^^^^^");
	bar_draw((const double[PHASE_COUNT]){[PHASE_COPY] = 1e30}, 10, bar);
	assert_string_equal(bar, "CCCCCCCCCC");
	bar_draw((const double[PHASE_COUNT]){0}, 10, bar);
	assert_string_equal(bar, "..........");
}

static void bar_phase_knows_the_letters_it_draws(void **state)
{
	char bar[9];
	const double all[PHASE_COUNT] = {0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125};
	bar_draw(all, 8, bar);
	for (int i = 0; i < PHASE_COUNT; i++)
		assert_int_equal(bar_phase(bar[i]), i);
	assert_int_equal(bar_phase('.'), PHASE_COUNT);
	assert_int_equal(bar_phase('\0'), PHASE_COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_write_aligns_columns),
		cmocka_unit_test(table_write_wraps_rows_that_are_too_wide),
		cmocka_unit_test(table_write_counts_columns_not_bytes),
		cmocka_unit_test(table_cell_of_a_peer_cannot_steer_the_terminal),
		cmocka_unit_test(table_write_leaves_out_a_row_that_is_not_whole),
		cmocka_unit_test(text_fit_cuts_to_columns_and_says_so),
		cmocka_unit_test(bar_draw_divides_the_width),
		cmocka_unit_test(bar_draw_more_than_the_whole_is_scaled),
		cmocka_unit_test(bar_phase_knows_the_letters_it_draws),
	};
	text_use_utf8();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
