// The log: levels, whole lines, and text from outside that cannot forge a line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static const char hostile[] = "a \"quote\" \\ \n \x1b[31m \xff\xfe \xc3\xa9 \xed\xa0\x80 {\"level\":\"error\"}";

static json_t *read_line(const char *line)
{
	json_error_t error;
	json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
	if (object == NULL)
		fail_msg("%s: %s", error.text, line);
	return object;
}

static void event_fields_follow_the_message(void **state)
{
	capture_start();
	log_event(LOG_LEVEL_INFO, &(struct log_fields){.job = "resnet", .stage = 1, .replica = 0, .step = 7}, "ended");
	log_event(LOG_LEVEL_INFO, &(struct log_fields){.job = "x", .stage = -1, .replica = -1, .step = -1}, "came");
	capture_end();
	assert_non_null(strstr(captured, "Z info ended job=resnet stage=1 replica=0 step=7\n"));
	assert_non_null(strstr(captured, "Z info came job=x\n"));
}

static void event_as_json_has_the_same_keys(void **state)
{
	const char *level, *message, *job, *at;
	int stage, replica, step;
	capture_start();
	log_set_format(LOG_FORMAT_JSON);
	log_event(LOG_LEVEL_WARNING, &(struct log_fields){.job = "resnet", .stage = 1, .replica = 0, .step = 7},
		  "ended");
	log_set_format(LOG_FORMAT_TEXT);
	capture_end();
	json_t *object = read_line(captured);
	assert_int_equal(json_unpack(object, "{s:s,s:s,s:s,s:s,s:i,s:i,s:i!}", "time", &at, "level", &level, "message",
				     &message, "job", &job, "stage", &stage, "replica", &replica, "step", &step),
			 0);
	assert_string_equal(level, "warning");
	assert_string_equal(message, "ended");
	assert_string_equal(job, "resnet");
	assert_int_equal(stage * 100 + replica * 10 + step, 107);
	assert_int_equal(strlen(at), strlen("2026-01-01T00:00:00.000Z"));
	json_decref(object);
}

static void event_as_json_takes_whatever_a_peer_sent(void **state)
{
	char long_text[8192];
	memset(long_text, '"', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	const char *const texts[] = {hostile, long_text, ""};
	for (unsigned i = 0; i < 3; i++) {
		capture_start();
		log_set_format(LOG_FORMAT_JSON);
		log_event(LOG_LEVEL_ERROR, &(struct log_fields){.job = texts[i], .stage = INT64_MAX, .step = INT64_MAX},
			  "%s", texts[i]);
		log_set_format(LOG_FORMAT_TEXT);
		capture_end();
		assert_int_equal(line_count(), 1);
		json_t *object = read_line(captured);
		assert_string_equal(json_string_value(json_object_get(object, "level")), "error");
		assert_int_equal(json_string_length(json_object_get(object, "message")) > 0, strlen(texts[i]) > 0);
		assert_true(json_integer_value(json_object_get(object, "step")) == INT64_MAX);
		json_decref(object);
	}
}

static void event_in_the_journal_has_its_priority(void **state)
{
	char stream[64];
	struct stat status;
	capture_start();
	fstat(STDERR_FILENO, &status);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_find_journal();
	log_error("1");
	log_warning("2");
	log_info("3");
	log_set_format(LOG_FORMAT_JSON);
	log_info("4");
	log_set_format(LOG_FORMAT_TEXT);
	// A service whose stderr was sent elsewhere still has the variable.
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino + 1);
	setenv("JOURNAL_STREAM", stream, 1);
	log_find_journal();
	log_error("5");
	unsetenv("JOURNAL_STREAM");
	log_find_journal();
	capture_end();
	assert_memory_equal(captured, "<3>1\n<4>2\n<6>3\n<6>{\"time\":", strlen("<3>1\n<4>2\n<6>3\n<6>{\"time\":"));
	assert_non_null(strstr(captured, "Z error 5\n"));
	assert_null(strstr(captured, "<3>5"));
}

static void write_to_a_pipe_that_nobody_reads_is_left_out_and_told_of(void **state)
{
	int ends[2];
	char text[4096];
	size_t length = 0;
	ssize_t got;
	assert_int_equal(pipe(ends), 0);
	int before = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	for (int i = 0; i < 5000; i++) // more than it holds; without an end the test's time is
		log_info("nobody reads this line");
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	while (read(ends[0], text, sizeof(text)) > 0)
		;
	log_info("now somebody does");
	while ((got = read(ends[0], text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)got;
	dup2(before, STDERR_FILENO);
	close(before);
	close(ends[0]);
	close(ends[1]);
	text[length] = '\0';
	char *told = strstr(text, " lines were dropped here: the log was not read in time\n");
	assert_non_null(told);
	assert_non_null(strstr(told, "now somebody does\n"));
}

static void level_names_stand_at_their_levels(void **state)
{
	assert_string_equal(log_level_names[LOG_LEVEL_ERROR], "error");
	assert_string_equal(log_level_names[LOG_LEVEL_WARNING], "warning");
	assert_string_equal(log_level_names[LOG_LEVEL_INFO], "info");
	assert_string_equal(log_level_names[LOG_LEVEL_DEBUG], "debug");
	assert_null(log_level_names[LOG_LEVEL_DEBUG + 1]);
	assert_string_equal(log_format_names[LOG_FORMAT_TEXT], "text");
	assert_string_equal(log_format_names[LOG_FORMAT_JSON], "json");
	assert_null(log_format_names[LOG_FORMAT_JSON + 1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(write_lines_carry_time_level_and_message),
		cmocka_unit_test(write_levels_below_the_threshold_are_silent),
		cmocka_unit_test(write_long_message_is_one_cut_line),
		cmocka_unit_test(write_control_characters_are_replaced),
		cmocka_unit_test(event_fields_follow_the_message),
		cmocka_unit_test(event_as_json_has_the_same_keys),
		cmocka_unit_test(event_as_json_takes_whatever_a_peer_sent),
		cmocka_unit_test(event_in_the_journal_has_its_priority),
		cmocka_unit_test(write_to_a_pipe_that_nobody_reads_is_left_out_and_told_of),
		cmocka_unit_test(level_names_stand_at_their_levels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
