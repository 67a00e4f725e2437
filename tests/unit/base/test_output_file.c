// Files that are written whole or not at all: what becomes of an earlier file, of links, modes, locks, leftovers and full disks.
#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/output_file.h"
#include "common/base/output_lock.h"
#include "common/base/output_path.h"

static char folder[] = "/tmp/penstock-test-XXXXXX";

static int enter_folder(void **state)
{
	return mkdtemp(folder) != NULL && chdir(folder) == 0 ? 0 : -1;
}

static int remove_all(void **state)
{
	char command[64];
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void assert_text(const char *path, const char *expected)
{
	char text[64] = "";
	FILE *file = fopen(path, "r");
	if (file == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	assert_true(fread(text, 1, sizeof(text) - 1, file) < sizeof(text));
	fclose(file);
	assert_string_equal(text, expected);
}

static int count_files(const char *path)
{
	int count = -2; // "." and ".."
	DIR *open_folder = opendir(path);
	assert_non_null(open_folder);
	while (readdir(open_folder) != NULL)
		count++;
	closedir(open_folder);
	return count;
}

static struct output_file *begin(const char *path)
{
	struct output_file *file = NULL;
	struct error error = {0};
	if (!output_file_create(path, true, &file, &error))
		fail_msg("%s", error.message);
	return file;
}

static void end(struct output_file *file, const char *text)
{
	struct error error = {0};
	if (!output_file_append(file, text, strlen(text), &error) || !output_file_finish(file, &error))
		fail_msg("%s", error.message);
}

static void assert_refused(const char *path, const char *expected)
{
	struct output_file *file = NULL;
	struct error error = {0};
	assert_false(output_file_create(path, true, &file, &error));
	if (strstr(error.message, expected) == NULL)
		fail_msg("expected \"%s\", got \"%s\"", expected, error.message);
	assert_int_equal(error.code, ERROR_USAGE);
	assert_null(file);
}

static void finish_new_file_has_its_name_and_nothing_is_left_beside_it(void **state)
{
	assert_int_equal(mkdir("new", 0777), 0);
	struct output_file *file = begin("new/a");
	assert_int_equal(access("new/a", F_OK), -1);
	end(file, "text");
	assert_text("new/a", "text");
	assert_int_equal(count_files("new"), 1);
}

static void abort_leaves_the_earlier_file_and_nothing_beside_it(void **state)
{
	assert_int_equal(mkdir("abort", 0777), 0);
	put("abort/a", "old");
	struct output_file *file = begin("abort/a");
	struct error error = {0};
	assert_true(output_file_append(file, "new", 3, &error));
	output_file_abort(file);
	output_file_abort(NULL);
	assert_text("abort/a", "old");
	assert_int_equal(count_files("abort"), 1);
}

static void finish_keeps_the_mode_and_the_owner_of_the_earlier_file(void **state)
{
	struct stat status;
	bool is_root = geteuid() == 0;
	put("mode", "old");
	assert_int_equal(chmod("mode", 0640), 0);
	if (is_root)
		assert_int_equal(chown("mode", 12345, 23456), 0);
	end(begin("mode"), "new");
	assert_text("mode", "new");
	assert_int_equal(stat("mode", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
	assert_int_equal(status.st_uid, is_root ? 12345 : geteuid());
	if (is_root)
		assert_int_equal(status.st_gid, 23456);
	mode_t mask = umask(027);
	end(begin("masked"), "new");
	umask(mask);
	assert_int_equal(stat("masked", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
}

static void finish_through_links_replaces_what_they_point_to(void **state)
{
	struct stat status;
	assert_int_equal(mkdir("there", 0777), 0);
	put("there/target", "old");
	assert_int_equal(symlink("there/target", "link"), 0);
	assert_int_equal(symlink("../link", "there/chain"), 0);
	assert_int_equal(symlink("there/made", "dangling"), 0);
	end(begin("there/chain"), "new");
	assert_text("there/target", "new");
	end(begin("dangling"), "made");
	assert_text("there/made", "made");
	for (int i = 0; i < 3; i++) {
		const char *links[] = {"link", "there/chain", "dangling"};
		assert_int_equal(lstat(links[i], &status), 0);
		assert_true(S_ISLNK(status.st_mode));
	}
}

static void create_where_no_file_can_be_is_refused(void **state)
{
	char name[300];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_refused("", ": No such file");
	assert_refused("nowhere/a", "nowhere/a: No such file");
	assert_refused("/proc/a", "/proc/a: ");
	assert_refused(".", "Is a directory");
	assert_refused(folder, "exists, and is not a regular file");
	assert_refused(name, "File name too long");
	assert_int_equal(mkfifo("pipe", 0600), 0);
	assert_refused("pipe", "exists, and is not a regular file");
	assert_int_equal(symlink("loop", "loop"), 0);
	assert_refused("loop", "Too many levels");
	assert_int_equal(access(".loop.lock", F_OK), -1);
}

// A process of its own, that stays until it is killed.
static pid_t write_elsewhere(const char *path)
{
	int ready[2];
	char byte;
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		struct output_file *file;
		struct error error;
		bool ok = output_file_create(path, true, &file, &error) && output_file_append(file, "half", 4, &error);
		if (ok && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

static void create_second_writer_is_refused_by_the_pid_of_the_first(void **state)
{
	char expected[80];
	assert_int_equal(mkdir("two", 0777), 0);
	put("two/a", "old");
	assert_int_equal(symlink("a", "two/b"), 0);
	pid_t child = write_elsewhere("two/a");
	snprintf(expected, sizeof(expected), "two/a: process %d is writing it", (int)child);
	assert_refused("two/a", expected);
	snprintf(expected, sizeof(expected), "two/b: process %d is writing it", (int)child);
	assert_refused("two/b", expected); // the same file by another name
	end(begin("two/other"), "other");
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_text("two/a", "old");
	end(begin("two/a"), "new"); // what the killed process left is in nobody's way
	assert_text("two/a", "new");
	assert_int_equal(count_files("two"), 3);
}

static void finish_two_writers_without_a_lock_each_write_a_whole_file(void **state)
{
	struct output_file *first, *second;
	struct error error = {0};
	assert_true(output_file_create("both", false, &first, &error));
	assert_true(output_file_create("both", false, &second, &error));
	end(second, "second");
	assert_text("both", "second");
	end(first, "first");
	assert_text("both", "first");
}

// A limit on the file's size fails where a full disk does.
static void append_over_the_size_limit_is_an_error_in_its_own_words(void **state)
{
	static char text[4096];
	struct rlimit before, small;
	struct error error = {0};
	assert_int_equal(mkdir("large", 0777), 0);
	put("large/a", "old");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 1000;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	bool written = output_file_replace("large/a", text, sizeof(text), &error);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_false(written);
	assert_string_equal(error.message, "large/a: write: File too large");
	assert_int_equal(error.code, ERROR_FAILED);
	assert_text("large/a", "old");
	assert_int_equal(count_files("large"), 1);
}

static void is_same_sees_through_links_and_missing_files(void **state)
{
	put("x", "");
	assert_int_equal(link("x", "hard"), 0);
	assert_int_equal(symlink("not_there", "soft"), 0);
	assert_int_equal(mkdir("sub", 0777), 0);
	assert_true(output_path_is_same("x", "./x"));
	assert_true(output_path_is_same("x", "hard"));
	assert_true(output_path_is_same("soft", "sub/../not_there"));
	assert_false(output_path_is_same("x", "not_there"));
	assert_false(output_path_is_same("sub/not_there", "not_there"));
	assert_false(output_path_is_same("nowhere/a", "nowhere/a")); // neither can be
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finish_new_file_has_its_name_and_nothing_is_left_beside_it),
		cmocka_unit_test(abort_leaves_the_earlier_file_and_nothing_beside_it),
		cmocka_unit_test(finish_keeps_the_mode_and_the_owner_of_the_earlier_file),
		cmocka_unit_test(finish_through_links_replaces_what_they_point_to),
		cmocka_unit_test(create_where_no_file_can_be_is_refused),
		cmocka_unit_test(create_second_writer_is_refused_by_the_pid_of_the_first),
		cmocka_unit_test(finish_two_writers_without_a_lock_each_write_a_whole_file),
		cmocka_unit_test(append_over_the_size_limit_is_an_error_in_its_own_words),
		cmocka_unit_test(is_same_sees_through_links_and_missing_files),
	};
	return cmocka_run_group_tests(tests, enter_folder, remove_all);
}
