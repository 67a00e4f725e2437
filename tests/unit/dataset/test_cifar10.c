// Reading CIFAR-10's binary files, good ones and bad ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/dataset/cifar10.h"

static char folder[64], inner[96];

static int make_folder(void **state)
{
	strcpy(folder, "/tmp/penstock-test-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(inner, sizeof(inner), "%s/cifar-10-batches-bin", folder);
	return 0;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_5.bin",
					    "test_batch.bin", "data_batch_1"};
	char path[160];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		if (unlink(path) < 0)
			rmdir(path);
		snprintf(path, sizeof(path), "%s/%s", inner, names[i]);
		unlink(path);
	}
	rmdir(inner);
	return rmdir(folder);
}

// `records` records of labels first_label, first_label + 1, ... and pixels that tell record and place, then
// `surplus` bytes.
static void write_batch(const char *in, const char *name, unsigned records, unsigned first_label, unsigned surplus)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", in, name);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	for (unsigned r = 0; r < records; r++) {
		fputc((int)(first_label + r), file);
		for (unsigned i = 0; i < CIFAR10_IMAGE_BYTES; i++)
			fputc((int)((i + 7 * r) % 251), file);
	}
	for (unsigned i = 0; i < surplus; i++)
		fputc(0, file);
	assert_int_equal(fclose(file), 0);
}

static void assert_refused(bool test, const char *expected)
{
	struct cifar10 set = {.records = NULL, .count = 77};
	struct error error = {0};
	assert_false(cifar10_read(folder, test, &set, &error));
	assert_int_equal(set.count, 77); // untouched
	if (strstr(error.message, expected) == NULL || strstr(error.message, folder) == NULL)
		fail_msg("expected \"%s\", got \"%s\"", expected, error.message);
	assert_int_equal(error.code, ERROR_USAGE);
}

static void read_some_batches_gives_them_in_order(void **state)
{
	write_batch(folder, "data_batch_1.bin", 3, 0, 0);
	write_batch(folder, "data_batch_2.bin", 2, 8, 0);
	write_batch(folder, "data_batch_5.bin", 1, 5, 0);
	struct cifar10 set;
	struct error error = {0};
	assert_true(cifar10_read(folder, false, &set, &error));
	assert_int_equal(set.count, 6);
	const uint8_t labels[6] = {0, 1, 2, 8, 9, 5};
	const unsigned record_in_file[6] = {0, 1, 2, 0, 1, 0};
	for (unsigned r = 0; r < 6; r++) {
		assert_int_equal(cifar10_label(&set, r), labels[r]);
		for (unsigned i = 0; i < CIFAR10_IMAGE_BYTES; i++)
			assert_int_equal(cifar10_image(&set, r)[i], (i + 7 * record_in_file[r]) % 251);
	}
	cifar10_fini(&set);
	assert_null(set.records);
}

static void read_test_reads_only_the_test_batch(void **state)
{
	write_batch(folder, "test_batch.bin", 4, 3, 0);
	struct cifar10 set;
	struct error error = {0};
	assert_true(cifar10_read(folder, true, &set, &error));
	assert_int_equal(set.count, 4);
	cifar10_fini(&set);
	assert_refused(false, "there is no data_batch_1.bin");
}

static void read_parent_folder_finds_the_archives_folder(void **state)
{
	assert_int_equal(mkdir(inner, 0700), 0);
	write_batch(inner, "data_batch_1.bin", 2, 0, 0);
	struct cifar10 set;
	struct error error = {0};
	assert_true(cifar10_read(folder, false, &set, &error));
	assert_int_equal(set.count, 2);
	cifar10_fini(&set);
}

static void read_missing_files_are_named(void **state)
{
	struct cifar10 set;
	struct error error = {0};
	assert_false(cifar10_read("/nonexistent/cifar", false, &set, &error));
	assert_non_null(strstr(error.message, "/nonexistent/cifar: No such file"));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_false(cifar10_read("/dev/null", false, &set, &error));
	assert_non_null(strstr(error.message, "/dev/null: is not a folder"));
	assert_refused(false, "there is no data_batch_1.bin");
	write_batch(folder, "data_batch_2.bin", 1, 0, 0);
	assert_refused(false, "there is no data_batch_1.bin");
	assert_refused(true, "there is no test_batch.bin");
}

static void read_python_version_is_told_apart(void **state)
{
	write_batch(folder, "data_batch_1", 1, 0, 0);
	assert_refused(false, "the binary version is wanted");
}

static void read_cut_file_is_refused_with_sizes(void **state)
{
	write_batch(folder, "data_batch_1.bin", 2, 0, 0);
	write_batch(folder, "data_batch_2.bin", 2, 0, 100);
	assert_refused(false,
		       "data_batch_2.bin: is cut short: 6246 bytes are 2 whole records of 3073 bytes and 100 bytes");
	write_batch(folder, "data_batch_2.bin", 0, 0, 0);
	assert_refused(false, "data_batch_2.bin: is empty");
}

static void read_label_over_9_is_refused_with_its_record(void **state)
{
	write_batch(folder, "data_batch_1.bin", 3, 8, 0);
	assert_refused(false, "data_batch_1.bin: record 2 (from 0) has label 10");
}

static void read_folder_in_place_of_a_file_is_refused(void **state)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/data_batch_1.bin", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(false, "data_batch_1.bin: is not a regular file");
}

static void read_link_that_leads_nowhere_is_refused(void **state)
{
	char path[128];
	write_batch(folder, "data_batch_1.bin", 2, 0, 0);
	snprintf(path, sizeof(path), "%s/data_batch_2.bin", folder);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_refused(false, "data_batch_2.bin: No such file");
}

static void read_folder_that_may_not_be_searched_is_refused(void **state)
{
	enum { NOBODY = 65534 };
	write_batch(folder, "data_batch_1.bin", 2, 0, 0);
	assert_int_equal(chmod(folder, 0), 0);
	bool is_root = geteuid() == 0; // to whom nothing is forbidden
	if (is_root)
		assert_int_equal(setresuid(NOBODY, NOBODY, 0), 0);
	assert_refused(false, "data_batch_1.bin: Permission denied");
	if (is_root)
		assert_int_equal(setresuid(0, 0, 0), 0);
	assert_int_equal(chmod(folder, 0700), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		CASE(read_some_batches_gives_them_in_order),
		CASE(read_test_reads_only_the_test_batch),
		CASE(read_parent_folder_finds_the_archives_folder),
		CASE(read_missing_files_are_named),
		CASE(read_python_version_is_told_apart),
		CASE(read_cut_file_is_refused_with_sizes),
		CASE(read_label_over_9_is_refused_with_its_record),
		CASE(read_folder_in_place_of_a_file_is_refused),
		CASE(read_link_that_leads_nowhere_is_refused),
		CASE(read_folder_that_may_not_be_searched_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
