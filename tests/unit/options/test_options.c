// penstockd's options: command line, environment and configuration file.
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stage_server/options/options.h"

// Parses the words that follow `count`.
static enum options_result parse(struct daemon_options *options, struct error *error, int count, ...)
{
	char words[16][128] = {"penstockd"}, *argv[17] = {words[0]};
	va_list list;
	va_start(list, count);
	for (int i = 1; i <= count; i++) {
		strncpy(words[i], va_arg(list, const char *), sizeof(words[i]) - 1);
		argv[i] = words[i];
	}
	va_end(list);
	return daemon_options_parse(count + 1, argv, options, error);
}

// A configuration file with `text`, for one parse; gone with the next.
static const char *file_with(const char *text, size_t size)
{
	static char path[64];
	strcpy(path, "/tmp/penstock-options-XXXXXX");
	int file = mkstemp(path);
	assert_true(file >= 0);
	assert_int_equal(write(file, text, size), (ssize_t)size);
	close(file);
	return path;
}

static enum options_result parse_file(const char *text, struct daemon_options *options, struct error *error)
{
	char word[128];
	const char *path = file_with(text, strlen(text));
	snprintf(word, sizeof(word), "--config=%s", path);
	enum options_result result = parse(options, error, 1, word);
	unlink(path);
	return result;
}

static void options_parse_nothing_gives_the_defaults(void **state)
{
	struct daemon_options options;
	struct error error;
	assert_int_equal(parse(&options, &error, 0), OPTIONS_RUN);
	assert_int_equal(options.listen.count, 1);
	assert_string_equal(options.listen.values[0], "127.0.0.1:7070");
	assert_int_equal(options.device.count, 1);
	assert_string_equal(options.device.values[0], "cpu");
	assert_int_equal(options.memory_limit_bytes, 0);
	assert_int_equal(options.maximum_message_bytes, 9 << 20);
	assert_int_equal(options.log_level, LOG_LEVEL_INFO);
	assert_null(options.metrics_listen);
	daemon_options_fini(&options);
}

static void options_parse_all_are_taken(void **state)
{
	struct daemon_options options;
	struct error error;
	assert_int_equal(parse(&options, &error, 11, "--listen", "0.0.0.0:1", "--listen=unix:/run/p.sock",
			       "--metrics-listen=:9464", "--threads=3", "--memory-limit=1.5GiB", "--max-sessions=2",
			       "--ready-file=/run/ready", "--log-level=debug", "--log-format=json", "--insecure"),
			 OPTIONS_RUN);
	assert_int_equal(options.listen.count, 2);
	assert_string_equal(options.listen.values[1], "unix:/run/p.sock");
	assert_int_equal(options.threads, 3);
	assert_int_equal(options.memory_limit_bytes, UINT64_C(1536) << 20);
	assert_int_equal(options.maximum_sessions, 2);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(options.log_format, LOG_FORMAT_JSON);
	assert_true(options.insecure);
	daemon_options_fini(&options);
}

static void options_parse_wrong_names_the_option(void **state)
{
	static const struct {
		const char *word, *why;
	} cases[] = {
		{"--nonsense", "--nonsense"},
		{"--threads=0", "--threads"},
		{"--threads=two", "--threads"},
		{"--memory-limit=much", "--memory-limit"},
		{"--memory-limit=0", "--memory-limit"},
		{"--memory-limit=16", "--memory-limit: \"16\" is less than 1.0 MiB; is the unit missing, as in 16GiB?"},
		{"--max-message-size=1KiB", "--max-message-size"},
		{"--max-sessions=-1", "--max-sessions"},
		{"--log-level=loud", "--log-level: \"loud\" is not error, warning, info or debug"},
		{"--tls-cert-file=", "--tls-cert-file"},
		{"--insecure=yes", "--insecure=yes takes no value"},
		{"--help=yes", "--help=yes takes no value"},
		{"--max=3", "--max=3 is unknown (is it --max-sessions, --max-connections, "},
		{"--tls=file", "--tls=file is unknown (is it --tls-cert-file, "},
		{"--thread-count=3", "--thread-count=3 is unknown; see"},
		{"--devcie=cpu", "--devcie=cpu is unknown (did you mean --device?)"},
		{"-x", "-x is unknown"},
		{"-\xc3\xa9", "option -\xc3 is unknown"},
		{"--max-message-size=1GiB", "is not from 5.0 MiB to 1023.0 MiB"},
		{"--listen", "--listen"},
		{"stray", "stray"},
		{"--config=/nonexistent/file", "/nonexistent/file"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct daemon_options options;
		struct error error;
		assert_int_equal(parse(&options, &error, 1, cases[i].word), OPTIONS_WRONG);
		assert_int_equal(error_exit_code(&error), 2);
		if (strstr(error.message, cases[i].why) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].why);
	}
}

static void options_parse_a_file_is_read(void **state)
{
	struct daemon_options options;
	struct error error;
	assert_int_equal(parse_file("# comment\n"
				    "listen = 127.0.0.1:1\n"
				    "\t listen=unix:/run/p.sock ; and a comment\r\n"
				    "\n"
				    "memory-limit = 2GiB\n"
				    "ready-file = /run/a#b\n"
				    "insecure = yes\n"
				    "log-format = json",
				    &options, &error),
			 OPTIONS_RUN);
	assert_int_equal(options.listen.count, 2);
	assert_string_equal(options.listen.values[1], "unix:/run/p.sock");
	assert_int_equal(options.memory_limit_bytes, UINT64_C(2) << 30);
	assert_string_equal(options.ready_file, "/run/a#b");
	assert_true(options.insecure);
	assert_int_equal(options.log_format, LOG_FORMAT_JSON);
	daemon_options_fini(&options);
}

static void options_parse_a_mistake_in_a_file_names_its_line(void **state)
{
	char long_line[400] = "\ntuning-file = ";
	memset(long_line + strlen(long_line), 'a', 300);
	const struct {
		const char *text, *why;
	} cases[] = {
		{"threads = 1\n\nmax-sesions = 3\n", ":3: unknown key \"max-sesions\""},
		{"threads = 1\nthreads = 2\n", ":2: threads was already given on line 1"},
		{"\nmax-sessions = 0\n", ":2: max-sessions: \"0\" is not"},
		{"max-sessions\n", ":1: this is not \"key = value\""},
		{"[daemon]\nthreads = 1\n", ":1: sections are not supported: remove [daemon]"},
		{"threads = 1\n [daemon", ":2: sections are not supported: remove [daemon]"},
		{"\xef\xbb\xbf[daemon]\nthreads = 1\n", ":2: sections are not supported: remove [daemon]"},
		{"threads = 4 # all\n", ":1: threads: # does not begin a comment after a value; write ;"},
		{"tuning-file = /a\t# b\n", ":1: tuning-file: # does not begin a comment after a value"},
		{"listen = # none\n", ":1: listen: # does not begin a comment after a value"},
		{"insecure = maybe\n", ":1: insecure: \"maybe\" is not no or yes"},
		{"listen =\n", ":1: listen: the value is empty"},
		{"config = other\n", ":1: unknown key"},
		{"threads = 1\n\r\v\fthread = 2\n", ":2: unknown key \"thread\""},
		{"threads = 1\n\r\v\fthread = 2\n", ":2: unknown key \"thread\""},
		{"print-devices = yes\n", ":1: unknown key"},
		{"listen = a\nlog-level = \xff\x1b[2J\n", ":2: log-level: \"??[2J\" is not"},
		{long_line, ":2: the line is too long"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct daemon_options options;
		struct error error;
		assert_int_equal(parse_file(cases[i].text, &options, &error), OPTIONS_WRONG);
		assert_int_equal(error_exit_code(&error), 2);
		if (strstr(error.message, cases[i].why) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].why);
	}
}

static void options_parse_a_zero_byte_in_a_file_is_refused(void **state)
{
	static const char text[] = "threads = 1\nlisten = a\0b\n";
	struct daemon_options options;
	struct error error;
	char word[128];
	const char *path = file_with(text, sizeof(text) - 1);
	snprintf(word, sizeof(word), "--config=%s", path);
	assert_int_equal(parse(&options, &error, 1, word), OPTIONS_WRONG);
	assert_non_null(strstr(error.message, ":2: the line contains a zero byte"));
	unlink(path);
}

static void options_parse_later_sources_win(void **state)
{
	struct daemon_options options;
	struct error error;
	static const char text[] = "listen = file:1\nlisten = file:2\nthreads = 1\nmax-sessions = 1\nmax-streams = 1\n";
	const char *path = file_with(text, strlen(text));
	setenv("PENSTOCK_CONFIG", path, 1);
	setenv("PENSTOCK_LISTEN", " environment:1\tenvironment:2 ", 1);
	setenv("PENSTOCK_MAX_SESSIONS", "2", 1);
	setenv("PENSTOCK_MAX_STREAMS", "2", 1);
	assert_int_equal(parse(&options, &error, 1, "--max-streams=3"), OPTIONS_RUN);
	assert_int_equal(options.listen.count, 2);
	assert_string_equal(options.listen.values[1], "environment:2");
	assert_int_equal(options.threads, 1);
	assert_int_equal(options.maximum_sessions, 2);
	assert_int_equal(options.maximum_streams, 3);
	daemon_options_fini(&options);
	assert_int_equal(parse(&options, &error, 1, "--listen=flag:1"), OPTIONS_RUN);
	assert_int_equal(options.listen.count, 1);
	assert_string_equal(options.listen.values[0], "flag:1");
	daemon_options_fini(&options);
	setenv("PENSTOCK_MAX_SESSIONS", "none", 1);
	assert_int_equal(parse(&options, &error, 0), OPTIONS_WRONG);
	assert_non_null(strstr(error.message, "$PENSTOCK_MAX_SESSIONS"));
	unsetenv("PENSTOCK_CONFIG");
	unsetenv("PENSTOCK_LISTEN");
	unsetenv("PENSTOCK_MAX_SESSIONS");
	unsetenv("PENSTOCK_MAX_STREAMS");
	unlink(path);
}

static void options_parse_a_pipe_for_a_file_is_refused_at_once(void **state)
{
	struct daemon_options options;
	struct error error;
	unlink("a_pipe");
	assert_int_equal(mkfifo("a_pipe", 0600), 0);
	alarm(5); // it would wait for a writer
	assert_int_equal(parse(&options, &error, 1, "--config=a_pipe"), OPTIONS_WRONG);
	assert_non_null(strstr(error.message, "--config a_pipe: is a pipe"));
	assert_int_equal(parse(&options, &error, 1, "--config=."), OPTIONS_WRONG);
	assert_non_null(strstr(error.message, "--config .: Is a directory"));
	assert_int_equal(parse(&options, &error, 1, "--config=/dev/null"), OPTIONS_RUN);
	daemon_options_fini(&options);
	alarm(0);
	unlink("a_pipe");
}

static void options_strays_are_those_of_no_option(void **state)
{
	char text[200], small[12];
	char *environment[] = {"HOME=/root",
			       "PENSTOCK_TREADS=1",
			       "PENSTOCK_THREADS=1",
			       "PENSTOCK_CUDA_LIBRARY_PATH=/x",
			       "PENSTOCKD=x",
			       "PENSTOCK_threads=1",
			       "PENSTOCK_CHECK_CONFIG",
			       "PENSTOCK_SLURM_LOG=x",
			       "PENSTOCK_=1",
			       NULL};
	assert_string_equal(daemon_options_strays(environment, text, sizeof(text)),
			    "PENSTOCK_TREADS PENSTOCK_threads PENSTOCK_CHECK_CONFIG PENSTOCK_");
	assert_string_equal(daemon_options_strays(environment, small, sizeof(small)), "PENSTOCK_TR");
	assert_string_equal(daemon_options_strays(environment + 9, text, sizeof(text)), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_parse_nothing_gives_the_defaults),
		cmocka_unit_test(options_parse_all_are_taken),
		cmocka_unit_test(options_parse_wrong_names_the_option),
		cmocka_unit_test(options_parse_a_file_is_read),
		cmocka_unit_test(options_parse_a_mistake_in_a_file_names_its_line),
		cmocka_unit_test(options_parse_a_zero_byte_in_a_file_is_refused),
		cmocka_unit_test(options_parse_later_sources_win),
		cmocka_unit_test(options_parse_a_pipe_for_a_file_is_refused_at_once),
		cmocka_unit_test(options_strays_are_those_of_no_option),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
