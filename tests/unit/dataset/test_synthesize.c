// The synthetic set: its format, its shares, that it depends on the seed alone, that colour alone does not
// give the class, and that a full disk or somebody's own files are left in order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "coordinator/dataset/cifar.h"
#include "coordinator/dataset/synthesize.h"

static char folder[64];

static int make_folder(void **state)
{
	strcpy(folder, "/tmp/penstock-test-XXXXXX");
	return mkdtemp(folder) == NULL ? -1 : 0;
}

static unsigned count_files(bool remove_them)
{
	unsigned count = 0;
	char path[512];
	DIR *directory = opendir(folder);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		count++;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (remove_them)
			unlink(path);
	}
	closedir(directory);
	return count;
}

static int remove_folder(void **state)
{
	count_files(true);
	return rmdir(folder);
}

static void synthesize_writes_equal_shares_in_random_order(void **state)
{
	struct error error = {0};
	if (!synthesize_cifar10(folder, 200, 1, &error))
		fail_msg("%s", error.message);
	struct cifar train, test;
	assert_true(cifar_read(&cifar_10, folder, false, &train, &error));
	assert_true(cifar_read(&cifar_10, folder, true, &test, &error));
	assert_int_equal(train.count, 1000);
	assert_int_equal(test.count, 200);
	for (unsigned file = 0; file < 5; file++) {
		unsigned counts[10] = {0}, ascending = 0;
		for (unsigned i = 0; i < 200; i++) {
			unsigned label = cifar_label(&train, file * 200 + i);
			counts[label]++;
			ascending += label == i % 10;
		}
		for (int label = 0; label < 10; label++)
			assert_int_equal(counts[label], 20);
		assert_true(ascending < 60);
	}
	// No image twice, in training or between training and test.
	for (uint64_t i = 0; i < train.count; i++)
		for (uint64_t j = 0; j < test.count; j++)
			assert_memory_not_equal(cifar_image(&train, i), cifar_image(&test, j), 64);
	cifar_fini(&train);
	cifar_fini(&test);
	assert_int_equal(count_files(false), 7); // and the list of classes; nothing unfinished
}

static uint64_t hash_of_set(uint64_t seed)
{
	struct error error = {0};
	struct cifar train;
	if (!synthesize_cifar10(folder, 20, seed, &error))
		fail_msg("%s", error.message);
	assert_true(cifar_read(&cifar_10, folder, false, &train, &error));
	uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
	for (uint64_t i = 0; i < train.count * CIFAR_RECORD_BYTES; i++)
		hash = (hash ^ train.records[i]) * 0x100000001b3u;
	cifar_fini(&train);
	return hash;
}

static void synthesize_same_seed_gives_the_same_bytes(void **state)
{
	uint64_t first = hash_of_set(1), other = hash_of_set(2), again = hash_of_set(1);
	assert_true(first == again);
	assert_true(first != other);
	// The bytes are part of what is promised: results on "the synthetic set, seed 1" can be compared.
	if (first != UINT64_C(0x8323458e259bc87a))
		fail_msg("the set of seed 1 hashes to 0x%llx", (unsigned long long)first);
}

// The best guess from an image's mean colour, by the nearest mean of 1000 training images: the family (warm
// or cool) and little more.
static void synthesize_mean_colour_does_not_give_the_class(void **state)
{
	struct error error = {0};
	struct cifar train;
	assert_true(synthesize_cifar10(folder, 200, 1, &error));
	assert_true(cifar_read(&cifar_10, folder, false, &train, &error));
	double colours[10][3] = {{0}};
	for (uint64_t i = 0; i < 500; i++)
		for (unsigned b = 0; b < CIFAR_IMAGE_BYTES; b++)
			colours[cifar_label(&train, i)][b / 1024] += cifar_image(&train, i)[b] / 50.0 / 1024;
	unsigned by_colour = 0, by_family = 0;
	for (uint64_t i = 500; i < 1000; i++) {
		double colour[3] = {0}, best = 1e30;
		unsigned guess = 0, label = cifar_label(&train, i);
		for (unsigned b = 0; b < CIFAR_IMAGE_BYTES; b++)
			colour[b / 1024] += cifar_image(&train, i)[b] / 1024.0;
		for (unsigned c = 0; c < 10; c++) {
			double distance = 0;
			for (int k = 0; k < 3; k++)
				distance += (colour[k] - colours[c][k]) * (colour[k] - colours[c][k]);
			if (distance < best) {
				best = distance;
				guess = c;
			}
		}
		by_colour += guess == label;
		by_family += guess / 5 == label / 5;
	}
	cifar_fini(&train);
	assert_true(by_colour < 200); // of 500; 100 would be knowing the family alone
	assert_true(by_family > 400);
}

static void synthesize_real_set_is_left_alone(void **state)
{
	char path[128], text[8] = "";
	snprintf(path, sizeof(path), "%s/data_batch_3.bin", folder);
	FILE *file = fopen(path, "w");
	fputs("mine", file);
	fclose(file);
	struct error error = {0};
	assert_false(synthesize_cifar10(folder, 10, 1, &error));
	assert_non_null(strstr(error.message, "data_batch_3.bin exists and is not a synthetic set"));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_int_equal(count_files(false), 1);
	file = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "mine");
}

static void synthesize_disk_full_leaves_no_half_file(void **state)
{
	struct rlimit before, small;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	small = before;
	small.rlim_cur = 50000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	struct error error = {0};
	bool done = synthesize_cifar10(folder, 100, 1, &error);
	setrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, handler);
	assert_false(done);
	assert_non_null(strstr(error.message, "data_batch_1.bin: write: File too large"));
	assert_int_equal(count_files(false), 1);                 // the list of classes
	assert_true(synthesize_cifar10(folder, 100, 1, &error)); // and it can be run again
}

static void synthesize_bad_request_is_refused(void **state)
{
	struct error error = {0};
	assert_false(synthesize_cifar10(folder, 0, 1, &error));
	assert_false(synthesize_cifar10(folder, 100001, 1, &error));
	assert_non_null(strstr(error.message, "from 1 to 100000"));
	assert_false(synthesize_cifar10("/proc/a/b", 10, 1, &error));
	assert_non_null(strstr(error.message, "/proc/a/b: No such file"));
	assert_false(synthesize_cifar10("/dev/null", 10, 1, &error));
	assert_non_null(strstr(error.message, "is not a folder"));
	assert_int_equal(error.code, ERROR_USAGE);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		CASE(synthesize_writes_equal_shares_in_random_order), CASE(synthesize_same_seed_gives_the_same_bytes),
		CASE(synthesize_mean_colour_does_not_give_the_class), CASE(synthesize_real_set_is_left_alone),
		CASE(synthesize_disk_full_leaves_no_half_file),       CASE(synthesize_bad_request_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
