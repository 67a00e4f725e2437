// penstockd's command line.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "stage_server/service/options.h"

static enum options_result parse(struct daemon_options *options, struct error *error, int count, ...)
{
	char words[16][64] = {"penstockd"}, *argv[17] = {words[0]};
	va_list list;
	va_start(list, count);
	for (int i = 1; i <= count; i++) {
		strncpy(words[i], va_arg(list, const char *), sizeof(words[i]) - 1);
		argv[i] = words[i];
	}
	va_end(list);
	static char kept[16][64]; // options borrow their strings
	memcpy(kept, words, sizeof(kept));
	for (int i = 0; i <= count; i++)
		argv[i] = kept[i];
	return options_parse(count + 1, argv, options, error);
}

static void options_parse_nothing_gives_the_defaults(void **state)
{
	struct daemon_options options;
	struct error error;
	assert_int_equal(parse(&options, &error, 0), OPTIONS_RUN);
	assert_int_equal(options.listen_count, 1);
	assert_string_equal(options.listen[0], "127.0.0.1:7070");
	assert_string_equal(options.devices[0], "cpu");
	assert_int_equal(options.memory_limit_bytes, 0);
	assert_null(options.metrics_listen);
}

static void options_parse_all_are_taken(void **state)
{
	struct daemon_options options;
	struct error error;
	assert_int_equal(parse(&options, &error, 9, "--listen", "0.0.0.0:1", "--listen=unix:/run/p.sock",
			       "--metrics-listen=:9464", "--threads=3", "--memory-limit=1.5GiB", "--max-sessions=2",
			       "--ready-file=/run/ready", "--log-level=debug"),
			 OPTIONS_RUN);
	assert_int_equal(options.listen_count, 2);
	assert_int_equal(options.threads, 3);
	assert_int_equal(options.memory_limit_bytes, UINT64_C(1536) << 20);
	assert_int_equal(options.maximum_sessions, 2);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
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
		{"--max-sessions=-1", "--max-sessions"},
		{"--log-level=loud", "--log-level"},
		{"--listen", "--listen"},
		{"stray", "stray"},
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_parse_nothing_gives_the_defaults),
		cmocka_unit_test(options_parse_all_are_taken),
		cmocka_unit_test(options_parse_wrong_names_the_option),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
