// The log: levels, whole lines, and text from outside that cannot forge a line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

static char captured[16384];
static int saved, file;

// Standard error goes to a file between these two.
static void capture_start(void)
{
	char name[] = "/tmp/penstock-log-XXXXXX";
	file = mkstemp(name);
	assert_true(file >= 0);
	unlink(name);
	saved = dup(STDERR_FILENO);
	dup2(file, STDERR_FILENO);
}

static void capture_end(void)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
	ssize_t size = pread(file, captured, sizeof(captured) - 1, 0);
	close(file);
	assert_true(size >= 0);
	captured[size] = '\0';
}

static unsigned line_count(void)
{
	unsigned count = 0;
	for (const char *c = captured; *c != '\0'; c++)
		count += *c == '\n';
	return count;
}

static void write_lines_carry_time_level_and_message(void **state)
{
	capture_start();
	log_set_level(LOG_LEVEL_INFO);
	log_warning("stage %d of %s", 3, "job");
	capture_end();
	int year, month, day, hour, minute, second, milli, end = 0;
	sscanf(captured, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ warning stage 3 of job\n%n", &year, &month, &day, &hour, &minute,
	       &second, &milli, &end);
	assert_true(end > 0);
	assert_int_equal(captured[end], '\0');
}

static void write_levels_below_the_threshold_are_silent(void **state)
{
	static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};
	for (unsigned i = 0; i < 4; i++) {
		capture_start();
		log_set_level(levels[i]);
		log_error("1");
		log_warning("2");
		log_info("3");
		log_debug("4");
		capture_end();
		assert_int_equal(line_count(), i + 1);
	}
	log_set_level(LOG_LEVEL_INFO);
}

static void write_long_message_is_one_cut_line(void **state)
{
	char text[8192];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	capture_start();
	log_info("%s", text);
	capture_end();
	assert_int_equal(line_count(), 1);
	assert_true(strlen(captured) > 1000 && strlen(captured) <= 2048);
	assert_int_equal(captured[strlen(captured) - 1], '\n');
}

static void write_control_characters_are_replaced(void **state)
{
	capture_start();
	log_info("name %s", "a\n2026-01-01T00:00:00.000Z error forged\x1b[31m");
	capture_end();
	assert_int_equal(line_count(), 1);
	assert_null(strchr(captured, 0x1b));
	assert_non_null(strstr(captured, "name a?2026"));
}

static void level_parse_takes_the_four_names(void **state)
{
	enum log_level level = LOG_LEVEL_ERROR;
	assert_true(log_level_parse("debug", &level));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_true(log_level_parse("warning", &level));
	assert_int_equal(level, LOG_LEVEL_WARNING);
	assert_true(log_level_parse("error", &level) && log_level_parse("info", &level));
	assert_int_equal(level, LOG_LEVEL_INFO);
	assert_false(log_level_parse("", &level));
	assert_false(log_level_parse("Info", &level));
	assert_false(log_level_parse("verbose", &level));
	assert_int_equal(level, LOG_LEVEL_INFO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(write_lines_carry_time_level_and_message),
		cmocka_unit_test(write_levels_below_the_threshold_are_silent),
		cmocka_unit_test(write_long_message_is_one_cut_line),
		cmocka_unit_test(write_control_characters_are_replaced),
		cmocka_unit_test(level_parse_takes_the_four_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
