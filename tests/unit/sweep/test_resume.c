// sweep.json, written and read back, damaged, and gone on with.
#include "tests/unit/sweep/deepspeed.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/sweep/file.h"
#include "coordinator/sweep/resume.h"

static const char path[] = "sweep.json"; // in a folder of this test's own, which it works in
static char folder[] = "/tmp/penstock-test-XXXXXX";

static int enter_folder(void **state)
{
	return mkdtemp(folder) != NULL ? chdir(folder) : -1;
}

static int remove_folder(void **state)
{
	unlink(path);
	return chdir("/") != 0 || rmdir(folder) != 0 ? -1 : 0; // fails if a test left something else
}

static void write_file(const struct sweep *sweep)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	assert_true(sweep_file_write(sweep, out));
	assert_int_equal(fclose(out), 0);
}

static struct sweep *read_back(void)
{
	struct sweep *sweep = NULL;
	struct error error = {0};
	if (!sweep_file_read(path, &sweep, &error))
		fail_msg("%s", error.message);
	return sweep;
}

static void file_written_and_read_is_the_same(void **state)
{
	struct sweep *sweep = deepspeed_vgg();
	strcpy(sweep->note, "a note");
	for (int i = 0; i < SWEEP_COLUMNS; i++) {
		char *at = (char *)&sweep->results[12].figures + sweep_columns[i].offset;
		if (sweep_columns[i].is_count)
			*(uint64_t *)at = (uint64_t)i + 5000000000;
		else
			*(double *)at = i + 1.0 / 3.0;
	}
	strcpy(sweep->results[12].fit, "made to fit");
	sweep->results[0].outcome = SWEEP_FAILED;
	sweep->results[2].outcome = SWEEP_MISSING;
	strcpy(sweep->results[2].message, "");
	write_file(sweep);
	struct sweep *read = read_back();
	assert_int_equal(read->count, sweep->count);
	assert_memory_equal(&read->grid, &sweep->grid, sizeof(read->grid));
	assert_string_equal(read->title, sweep->title);
	assert_string_equal(read->note, sweep->note);
	assert_true(json_equal(read->setting, sweep->setting));
	for (uint32_t i = 0; i < sweep->count; i++) {
		const struct sweep_result *a = &read->results[i], *b = &sweep->results[i];
		assert_int_equal(a->outcome, b->outcome);
		assert_memory_equal(&a->cell, &b->cell, sizeof(a->cell));
		assert_string_equal(a->fit, b->fit);
		assert_string_equal(a->message, b->message);
		for (int c = 0; c < SWEEP_COLUMNS; c++)
			assert_memory_equal((const char *)&a->figures + sweep_columns[c].offset,
					    (const char *)&b->figures + sweep_columns[c].offset, 8);
	}
	sweep_destroy(read);
	sweep_destroy(sweep);
}

static void assert_refused(const char *text, const char *expected)
{
	struct sweep *sweep = NULL;
	struct error error = {0};
	FILE *out = fopen(path, "w");
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
	assert_false(sweep_file_read(path, &sweep, &error));
	assert_null(sweep);
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, expected) == NULL || strncmp(error.message, "sweep.json: ", 12) != 0)
		fail_msg("expected \"%s\", got \"%s\"", expected, error.message);
}

#define LISTS "\"setting\": {}, \"micro_batch_sizes\": [8], \"nodes\": [1], \"pipeline_sizes\": [0]"
#define CELL  "\"nodes\": 1, \"pipeline_size\": 0, \"micro_batch_size\": 8"

static void file_that_is_damaged_is_refused_with_what_is_wrong(void **state)
{
	assert_refused("", "line 1: '[' or '{' expected near end of file");
	assert_refused("{\"format\": 1,\n oops}", "line 2: ");
	assert_refused("[]", "format is not 1");
	assert_refused("{\"format\": 2}", "format is not 1");
	assert_refused("{\"format\": 1, \"micro_batch_sizes\": []}", "micro_batch_sizes: ");
	assert_refused("{\"format\": 1, \"micro_batch_sizes\": [0]}", "micro_batch_sizes: ");
	assert_refused("{\"format\": 1, \"micro_batch_sizes\": [8], \"nodes\": [1e9]}", "nodes: ");
	assert_refused("{\"format\": 1, \"micro_batch_sizes\": [8], \"nodes\": [1], \"pipeline_sizes\": [0]}",
		       "setting: ");
	assert_refused("{\"format\": 1, " LISTS ", \"cells\": [{\"nodes\": 2}]}", "a cell's pipeline_size: ");
	assert_refused("{\"format\": 1, " LISTS
		       ", \"cells\": [{\"nodes\": 2, \"pipeline_size\": 0, \"micro_batch_size\": 8}]}",
		       "cell 2 nodes, pipeline size 0, micro-batches of 8: ");
	// In 32 bits these would be the cell's 1 and 0.
	assert_refused("{\"format\": 1, " LISTS ", \"cells\": [{\"nodes\": 4294967297, \"pipeline_size\": 0, "
		       "\"micro_batch_size\": 8, \"outcome\": \"missing\"}]}",
		       "a cell's nodes: ");
	assert_refused("{\"format\": 1, " LISTS ", \"cells\": [{\"nodes\": 1, \"pipeline_size\": -4294967296, "
		       "\"micro_batch_size\": 8, \"outcome\": \"missing\"}]}",
		       "a cell's pipeline_size: ");
	assert_refused("{\"format\": 1, " LISTS ", \"cells\": [{" CELL ", \"outcome\": \"fine\"}]}",
		       "cell 1 node, pipeline size 0, micro-batches of 8: penstock sweep did not write it like this");
	assert_refused("{\"format\": 1, " LISTS ", \"cells\": [{" CELL ", \"outcome\": \"done\", \"devices\": -1}]}",
		       "micro-batches of 8: devices: ");
}

static void file_without_its_cells_is_refused(void **state)
{
	assert_refused("{\"format\": 1, " LISTS "}",
		       "cells: penstock sweep did not write it like this; it was not changed");
	assert_refused("{\"format\": 1, " LISTS ", \"cells\": null}", "cells: ");
	assert_refused("{\"format\": 1, " LISTS ", \"cells\": []}", "it has 0 of 1 cells: ");
	assert_refused("{\"format\": 1, " LISTS ", \"cells\": [{" CELL ", \"outcome\": \"missing\"}, {" CELL
		       ", \"outcome\": \"missing\"}]}",
		       "micro-batches of 8 appears twice: ");
}

static void file_with_a_negative_rate_is_refused(void **state)
{
	static const double rates[] = {-3};
	struct sweep *sweep = make_sweep("0", "8", "1", json_object(), rates), *read = NULL;
	struct error error = {0};
	sweep->results[0].outcome = SWEEP_DONE;
	sweep->results[0].figures.samples_per_second = -3;
	write_file(sweep);
	assert_false(sweep_file_read(path, &read, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "samples_per_second: "));
	sweep->results[0].figures.samples_per_second = 3;
	sweep->results[0].figures.bubble = -0.01; // with few steps shares come to a little over 1
	write_file(sweep);
	sweep_destroy(read_back());
	sweep_destroy(sweep);
}

static void file_that_is_a_pipe_or_a_folder_is_refused_at_once(void **state)
{
	struct sweep *read = NULL;
	struct error error = {0};
	unlink("a_pipe");
	assert_int_equal(mkfifo("a_pipe", 0600), 0);
	alarm(5); // it would wait for a writer
	assert_false(sweep_file_read("a_pipe", &read, &error));
	alarm(0);
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "a_pipe: is not a regular file"));
	assert_false(sweep_file_read(".", &read, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, ".: is not a regular file"));
}

// All cells missing but the empty ones.
static struct sweep *fresh(const char *pipeline_sizes, const char *micro_batch_sizes, const char *nodes,
			   json_t *setting)
{
	struct grid grid;
	struct sweep *sweep = NULL;
	struct error error = {0};
	assert_true(grid_parse(pipeline_sizes, micro_batch_sizes, nodes, &grid, &error));
	assert_true(sweep_create(&grid, setting, &sweep, &error));
	sweep_mark_empty(sweep, one_device_each, NULL);
	return sweep;
}

static void resume_takes_what_is_done_or_out_of_memory_and_leaves_the_rest(void **state)
{
	static const double rates[] = {OOM, 0, 20, 30};
	struct sweep *before = make_sweep("0,2", "8", "1,2", json_pack("{s:i}", "steps", 7), rates);
	before->results[3].outcome = SWEEP_FAILED;
	// With more cells, and in another order.
	struct sweep *sweep = fresh("2,0", "4,8", "1,2", json_pack("{s:i}", "steps", 7));
	struct error error = {0};
	assert_true(sweep_resume_from(sweep, before, path, &error));
	static const enum sweep_outcome expected[] = {SWEEP_EMPTY, SWEEP_MISSING,       SWEEP_MISSING, SWEEP_MISSING,
						      SWEEP_EMPTY, SWEEP_OUT_OF_MEMORY, SWEEP_MISSING, SWEEP_DONE};
	for (uint32_t i = 0; i < sweep->count; i++)
		assert_int_equal(sweep->results[i].outcome, expected[i]);
	assert_true(sweep->results[7].figures.samples_per_second == 20);
	assert_string_equal(sweep->results[5].message, "CUDA out of Memory");
	assert_false(sweep_is_complete(sweep));
	sweep_destroy(sweep);
	before->results[3].outcome = SWEEP_DIVERGED; // is a result, too
	sweep = fresh("2,0", "8", "1,2", json_pack("{s:i}", "steps", 7));
	assert_true(sweep_resume_from(sweep, before, path, &error));
	assert_int_equal(sweep_find(sweep, before->results[3].cell)->outcome, SWEEP_DIVERGED);
	sweep_destroy(sweep);
	sweep_destroy(before);
}

static void assert_not_resumed(struct sweep *sweep, const struct sweep *before, const char *expected)
{
	struct error error = {0};
	assert_false(sweep_resume_from(sweep, before, path, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, expected) == NULL)
		fail_msg("expected \"%s\", got \"%s\"", expected, error.message);
	for (uint32_t i = 0; i < sweep->count; i++)
		assert_true(sweep->results[i].outcome == SWEEP_MISSING || sweep->results[i].outcome == SWEEP_EMPTY);
	sweep_destroy(sweep);
}

static void resume_of_another_setting_is_refused_with_both_values(void **state)
{
	static const double rates[] = {10};
	struct sweep *before =
		make_sweep("0", "8", "1",
			   json_pack("{s:s, s:i, s:b, s:f}", "model", "vgg11", "steps", 7, "fit", 0, "lr", 0.1), rates);
	assert_not_resumed(
		fresh("0", "8", "1",
		      json_pack("{s:s, s:i, s:b, s:f}", "model", "alexnet", "steps", 7, "fit", 0, "lr", 0.1)),
		before,
		"sweep.json: was made with other settings: model is \"alexnet\" now, and was \"vgg11\"; continue");
	assert_not_resumed(fresh("0", "8", "1", json_pack("{s:s, s:i}", "model", "vgg11", "steps", 8)), before,
			   "steps is 8 now, and was 7; fit is not there now, and was false; lr is not there now, and "
			   "was 0.1; continue with those");
	assert_not_resumed(fresh("0", "8", "1", json_pack("{s:s, s:i}", "model", "x", "steps", 8)), before,
			   "; and more; continue with those");
	sweep_destroy(before);
}

static void resume_that_would_lose_a_result_is_refused(void **state)
{
	static const double rates[] = {10, 20};
	struct sweep *before = make_sweep("0", "8", "1,2", json_object(), rates);
	assert_not_resumed(fresh("0", "8", "1", json_object()), before,
			   "has a result for 2 nodes, pipeline size 0, micro-batches of 8, which is not among");
	before->results[1].outcome = SWEEP_FAILED; // nothing is lost with that
	struct sweep *sweep = fresh("0", "8", "1", json_object());
	struct error error = {0};
	assert_true(sweep_resume_from(sweep, before, path, &error));
	assert_true(sweep_is_complete(sweep));
	sweep_destroy(sweep);
	sweep_destroy(before);
}

static void resume_of_another_setting_without_any_result_begins_anew(void **state)
{
	static const double rates[] = {10, 20};
	struct sweep *before = make_sweep("0", "8", "1,2", json_pack("{s:i}", "steps", 7), rates);
	struct sweep *sweep = fresh("0", "4", "1", json_pack("{s:i}", "steps", 8));
	struct error error = {0};
	assert_false(sweep_resume_from(sweep, before, path, &error));
	before->results[0].outcome = SWEEP_FAILED;
	before->results[1].outcome = SWEEP_MISSING;
	assert_true(sweep_resume_from(sweep, before, path, &error));
	assert_int_equal(sweep->results[0].outcome, SWEEP_MISSING);
	sweep_destroy(sweep);
	sweep_destroy(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_written_and_read_is_the_same),
		cmocka_unit_test(file_that_is_damaged_is_refused_with_what_is_wrong),
		cmocka_unit_test(file_without_its_cells_is_refused),
		cmocka_unit_test(file_with_a_negative_rate_is_refused),
		cmocka_unit_test(file_that_is_a_pipe_or_a_folder_is_refused_at_once),
		cmocka_unit_test(resume_takes_what_is_done_or_out_of_memory_and_leaves_the_rest),
		cmocka_unit_test(resume_of_another_setting_is_refused_with_both_values),
		cmocka_unit_test(resume_that_would_lose_a_result_is_refused),
		cmocka_unit_test(resume_of_another_setting_without_any_result_begins_anew),
	};
	return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
