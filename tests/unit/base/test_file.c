#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/file.h"

struct place {
	char folder[32], path[64];
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	snprintf(place->folder, sizeof(place->folder), "/tmp/test-file-XXXXXX");
	assert_non_null(mkdtemp(place->folder));
	snprintf(place->path, sizeof(place->path), "%s/it", place->folder);
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;
	unlink(place->path);
	rmdir(place->folder);
	free(place);
	return 0;
}

static void write_file(const char *path, const char *text, size_t size)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void assert_refused(const char *path, size_t maximum_bytes, const char *words)
{
	struct error error;
	char *text = NULL;
	size_t size = 7;
	assert_false(file_read(path, maximum_bytes, &text, &size, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, words));
	assert_null(text);
	assert_int_equal(size, 7);
}

static void file_read_takes_all_up_to_the_maximum(void **state)
{
	struct place *place = *state;
	enum { SIZE = 70000 };
	char *written = malloc(SIZE), *text;
	struct error error;
	size_t size;
	for (size_t i = 0; i < SIZE; i++)
		written[i] = (char)(i * 7);
	write_file(place->path, written, SIZE);
	assert_true(file_read(place->path, SIZE, &text, &size, &error));
	assert_int_equal(size, SIZE);
	assert_memory_equal(text, written, SIZE);
	assert_int_equal(text[SIZE], 0);
	free(text);
	assert_refused(place->path, SIZE - 1, "larger than 69999 bytes");
	write_file(place->path, "", 0);
	assert_true(file_read(place->path, 10, &text, &size, &error));
	assert_int_equal(size, 0);
	assert_string_equal(text, "");
	free(text);
	free(written);
}

static void file_read_of_what_is_no_file_is_refused(void **state)
{
	struct place *place = *state;
	assert_refused(place->path, 10, "No such file");
	assert_refused(place->folder, 10, "Is a directory");
	assert_refused("/dev/zero", 100000, "larger than");
	assert_refused("/dev/ptmx", 10, "terminal");
}

static void file_read_of_a_pipe_does_not_wait_for_ever(void **state)
{
	struct place *place = *state;
	struct error error;
	char *text;
	size_t size;
	assert_int_equal(mkfifo(place->path, 0600), 0);
	assert_refused(place->path, 10, "is a pipe without a writer");
	int both = open(place->path, O_RDWR | O_CLOEXEC);
	assert_int_equal(write(both, "abc", 3), 3);
	assert_refused(place->path, 10, "does not end");
	assert_int_equal(close(both), 0);

	int ends[2]; // as a shell's <(command)
	char path[32];
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "abc", 3), 3);
	assert_int_equal(close(ends[1]), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
	assert_true(file_read(path, 10, &text, &size, &error));
	assert_int_equal(size, 3);
	assert_string_equal(text, "abc");
	free(text);
	close(ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(file_read_takes_all_up_to_the_maximum, set_up, tear_down),
		cmocka_unit_test_setup_teardown(file_read_of_what_is_no_file_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(file_read_of_a_pipe_does_not_wait_for_ever, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
