// Reading CIFAR-10 in every form in which it is published, good files and bad ones.
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

#include "coordinator/dataset/cifar.h"
#include "tests/unit/dataset/pickles.h"

static char folder[64], inner[96];

static int make_folder(void **state)
{
	strcpy(folder, "/tmp/penstock-test-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(inner, sizeof(inner), "%s/cifar-10-batches-bin", folder);
	return 0;
}

static int run_command(const char *format, ...)
{
	char command[400];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	return system(command);
}

static int remove_folder(void **state)
{
	return run_command("rm -rf %s", folder);
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
		for (unsigned i = 0; i < CIFAR_IMAGE_BYTES; i++)
			fputc((int)((i + 7 * r) % 251), file);
	}
	for (unsigned i = 0; i < surplus; i++)
		fputc(0, file);
	assert_int_equal(fclose(file), 0);
}

static void assert_refused(bool test, const char *expected)
{
	struct cifar set = {.records = NULL, .count = 77};
	struct error error = {0};
	assert_false(cifar_read(&cifar_10, folder, test, &set, &error));
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
	struct cifar set;
	struct error error = {0};
	assert_true(cifar_read(&cifar_10, folder, false, &set, &error));
	assert_int_equal(set.count, 6);
	const uint8_t labels[6] = {0, 1, 2, 8, 9, 5};
	const unsigned record_in_file[6] = {0, 1, 2, 0, 1, 0};
	for (unsigned r = 0; r < 6; r++) {
		assert_int_equal(cifar_label(&set, r), labels[r]);
		for (unsigned i = 0; i < CIFAR_IMAGE_BYTES; i++)
			assert_int_equal(cifar_image(&set, r)[i], (i + 7 * record_in_file[r]) % 251);
	}
	cifar_fini(&set);
	assert_null(set.records);
}

static void read_test_reads_only_the_test_batch(void **state)
{
	write_batch(folder, "test_batch.bin", 4, 3, 0);
	struct cifar set;
	struct error error = {0};
	assert_true(cifar_read(&cifar_10, folder, true, &set, &error));
	assert_int_equal(set.count, 4);
	cifar_fini(&set);
	assert_refused(false, "there is no data_batch_1.bin");
}

static void read_parent_folder_finds_the_archives_folder(void **state)
{
	assert_int_equal(mkdir(inner, 0700), 0);
	write_batch(inner, "data_batch_1.bin", 2, 0, 0);
	struct cifar set;
	struct error error = {0};
	assert_true(cifar_read(&cifar_10, folder, false, &set, &error));
	assert_int_equal(set.count, 2);
	cifar_fini(&set);
}

static void read_missing_files_are_named(void **state)
{
	struct cifar set;
	struct error error = {0};
	assert_false(cifar_read(&cifar_10, "/proc/cifar", false, &set, &error));
	assert_non_null(strstr(error.message, "/proc/cifar: No such file"));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_false(cifar_read(&cifar_10, "/dev/null", false, &set, &error));
	assert_non_null(strstr(error.message, "/dev/null: is neither a folder nor an archive"));
	assert_refused(false, "there is no data_batch_1.bin");
	write_batch(folder, "data_batch_2.bin", 1, 0, 0);
	assert_refused(false, "there is no data_batch_1.bin");
	assert_refused(true, "there is no test_batch.bin");
}

static void write_pickle(const char *name, unsigned images, unsigned first_label)
{
	static struct pickle_text text;
	char path[160];
	(first_label % 2 == 0 ? pickle_of_python2 : pickle_of_python3)(&text, images, first_label);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(text.bytes, 1, text.size, file), text.size);
	assert_int_equal(fclose(file), 0);
}

// The path, below the folder, has three training images of labels 2, 3 and 7, and one test image of label 5.
static void assert_three_and_one(const char *below)
{
	char path[200];
	struct cifar set;
	struct error error = {0};
	const uint8_t labels[3] = {2, 3, 7}, pixels[3] = {1, 8, 1};
	snprintf(path, sizeof(path), "%s/%s", folder, below);
	if (!cifar_read(&cifar_10, path, false, &set, &error))
		fail_msg("%s", error.message);
	assert_int_equal(set.count, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(cifar_label(&set, i), labels[i]);
		assert_int_equal(cifar_image(&set, i)[1], pixels[i]);
		assert_int_equal(cifar_image(&set, i)[3071], (pixels[i] + 3070) % 251);
	}
	cifar_fini(&set);
	if (!cifar_read(&cifar_10, path, true, &set, &error))
		fail_msg("%s", error.message);
	assert_int_equal(set.count, 1);
	assert_int_equal(cifar_label(&set, 0), 5);
	cifar_fini(&set);
}

static void write_python_version(void)
{
	assert_int_equal(run_command("mkdir %s/cifar-10-batches-py", folder), 0);
	write_pickle("cifar-10-batches-py/data_batch_1", 2, 2);
	write_pickle("cifar-10-batches-py/data_batch_4", 1, 7);
	write_pickle("cifar-10-batches-py/test_batch", 1, 5);
}

static void read_version_for_python_is_the_same_records(void **state)
{
	write_python_version();
	assert_three_and_one("");
	assert_three_and_one("cifar-10-batches-py");
}

// In another order than that of their numbers, beside other files, as it is published.
static void read_archive_is_the_same_records(void **state)
{
	write_python_version();
	write_batch(folder, "data_batch_1.bin", 2, 2, 0);
	write_batch(folder, "data_batch_3.bin", 1, 7, 0);
	write_batch(folder, "test_batch.bin", 1, 5, 0);
	assert_int_equal(
		run_command("cd %s && mkdir of-python of-binary && echo x >cifar-10-batches-py/readme.html && "
			    "tar czf of-python/cifar-10-python.tar.gz cifar-10-batches-py/data_batch_4 "
			    "cifar-10-batches-py/readme.html "
			    "cifar-10-batches-py/test_batch cifar-10-batches-py/data_batch_1 && "
			    "tar cf of-binary/cifar-10-binary.tar.gz test_batch.bin data_batch_3.bin data_batch_1.bin",
			    folder),
		0);
	assert_three_and_one("of-python");
	assert_three_and_one("of-python/cifar-10-python.tar.gz");
	assert_three_and_one("of-binary"); // not packed; the name does not matter
}

static void assert_archive_refused(const char *files, const char *expected)
{
	assert_int_equal(
		run_command("cd %s && rm -rf a && mkdir a && tar czf a/cifar-10-python.tar.gz %s", folder, files), 0);
	strcat(folder, "/a");
	assert_refused(false, expected);
	folder[strlen(folder) - 2] = '\0';
}

static void read_bad_archive_is_refused(void **state)
{
	write_python_version();
	write_batch(folder, "data_batch_1", 2, 0, 0);
	assert_archive_refused("cifar-10-batches-py/test_batch", "holds neither data_batch_1 nor data_batch_1.bin");
	assert_archive_refused("data_batch_1", "cifar-10-python.tar.gz: data_batch_1: is not a pickle of protocol 2");
	assert_archive_refused("cifar-10-batches-py/data_batch_1 data_batch_1", "data_batch_1: appears twice in it");
	assert_archive_refused("cifar-10-batches-py/data_batch_4", "holds neither");
	strcat(folder, "/a");
	assert_int_equal(run_command("cd %s && truncate -s -20 cifar-10-python.tar.gz", folder), 0);
	assert_refused(false, "is damaged: ");
	assert_int_equal(run_command("echo no archive at all >%s/cifar-10-python.tar.gz", folder), 0);
	assert_refused(false, "cifar-10-python.tar.gz: is damaged");
	folder[strlen(folder) - 2] = '\0';
}

static void read_bad_pickle_is_refused_by_its_name(void **state)
{
	write_batch(folder, "data_batch_1", 1, 0, 0);
	assert_refused(false, "data_batch_1: is not a pickle of protocol 2");
	write_pickle("data_batch_1", 3, 8);
	assert_refused(false, "data_batch_1: label 2 (from 0) is not a number from 0 to 9");
	assert_int_equal(run_command("printf '\\200\\002}.' >%s/data_batch_1", folder), 0);
	assert_refused(false, "its dictionary has no numpy array \"data\"");
	assert_int_equal(run_command("printf '\\200\\002N.' >%s/data_batch_1", folder), 0);
	assert_refused(false, "does not hold a dictionary");
}

static void write_100(const char *name, unsigned images, unsigned first_label)
{
	static struct pickle_text text;
	char path[160];
	pickle_of_100_classes(&text, images, first_label);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(text.bytes, 1, text.size, file), text.size);
	assert_int_equal(fclose(file), 0);
}

static void read_100_for_python_gives_fine_labels(void **state)
{
	struct cifar set;
	struct error error = {0};
	assert_int_equal(run_command("mkdir %s/cifar-100-python %s/train", folder, folder), 0); // the latter is no file
	write_100("cifar-100-python/train", 3, 97);
	write_100("cifar-100-python/test", 1, 50);
	for (int i = 0; i < 2; i++) {
		char path[100];
		snprintf(path, sizeof(path), "%s%s", folder, i == 0 ? "" : "/a.tar");
		assert_int_equal(run_command("cd %s && tar czf a.tar cifar-100-python", folder), 0);
		if (!cifar_read(&cifar_100, path, false, &set, &error))
			fail_msg("%s", error.message);
		assert_int_equal(set.count, 3);
		assert_int_equal(cifar_label(&set, 0), 97);
		assert_int_equal(cifar_label(&set, 2), 99);
		assert_int_equal(cifar_image(&set, 1)[1], 8);
		cifar_fini(&set);
		assert_true(cifar_read(&cifar_100, path, true, &set, &error));
		assert_int_equal(cifar_label(&set, 0), 50);
		cifar_fini(&set);
	}
	write_100("cifar-100-python/train", 3, 98);
	assert_false(cifar_read(&cifar_100, folder, false, &set, &error));
	assert_non_null(strstr(error.message, "train: label 2 (from 0) is not a number from 0 to 99"));
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

static void check_classes_needs_one_for_each_label(void **state)
{
	write_batch(folder, "data_batch_1.bin", 2, 3, 0); // labels 3 and 4
	struct cifar set;
	struct error error = {0};
	assert_true(cifar_read(&cifar_10, folder, false, &set, &error));
	assert_true(cifar_check_classes(&set, 5, &error));
	assert_false(cifar_check_classes(&set, 4, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_string_equal(error.message,
			    "--classes 4: the dataset has labels up to 4, so the model needs at least 5 classes");
	cifar_fini(&set);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		CASE(read_some_batches_gives_them_in_order),
		CASE(read_test_reads_only_the_test_batch),
		CASE(read_parent_folder_finds_the_archives_folder),
		CASE(read_missing_files_are_named),
		CASE(read_version_for_python_is_the_same_records),
		CASE(read_archive_is_the_same_records),
		CASE(read_bad_archive_is_refused),
		CASE(read_bad_pickle_is_refused_by_its_name),
		CASE(read_100_for_python_gives_fine_labels),
		CASE(read_cut_file_is_refused_with_sizes),
		CASE(read_label_over_9_is_refused_with_its_record),
		CASE(check_classes_needs_one_for_each_label),
		CASE(read_folder_in_place_of_a_file_is_refused),
		CASE(read_link_that_leads_nowhere_is_refused),
		CASE(read_folder_that_may_not_be_searched_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
