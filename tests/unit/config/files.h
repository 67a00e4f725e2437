// Small files for the tests of this folder: one at a time, in a place of its own.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char test_folder[] = "/tmp/penstock-test-XXXXXX";
static char test_path[64];

static inline int make_test_folder(void **state)
{
	if (mkdtemp(test_folder) == NULL)
		return -1;
	snprintf(test_path, sizeof(test_path), "%s/file", test_folder);
	return 0;
}

static inline int remove_test_folder(void **state)
{
	unlink(test_path);
	return rmdir(test_folder);
}

static inline void write_test_bytes(const char *bytes, size_t size)
{
	FILE *file = fopen(test_path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static inline void write_test_file(const char *text)
{
	write_test_bytes(text, strlen(text));
}
