// A table of options of every kind, for two commands: what is taken, what is refused with which words, and what --help prints.
#include "tests/unit/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/options/table.h"

enum { FETCH, STORE };

struct given {
	bool quiet;
	const char *file, *mode, *own;
	struct option_list names;
	uint32_t count;
	int32_t signed_count;
	uint64_t seed, bytes, all_bytes;
	double rate;
	int color;
	bool own_was_bare;
};

static bool take_own(void *into, const char *value, struct error *error)
{
	struct given *given = into;
	given->own = value;
	given->own_was_bare = value == NULL;
	return value == NULL || strcmp(value, "9") != 0 || error_set(error, ERROR_USAGE, "not nine");
}

#define PLACE(field) offsetof(struct given, field)
static const char *const modes[] = {"fast", "slow", NULL}, *const colors[] = {"red", "green", "blue", NULL};

static const struct option_row rows[] = {
	{"file", "FILE", OPTION_TEXT, PLACE(file), .letter = 'f', .also = {"the_file"}, .help = "of what"},
	{"quiet", NULL, OPTION_SWITCH, PLACE(quiet), .letter = 'q', .help = "no words"},
	{"name", "NAME", OPTION_LIST, PLACE(names), .maximum = 2, .help = "one of two"},
	{"count", "N", OPTION_COUNT, PLACE(count), 1, 64, .preset = "4", .heading = "Numbers:"},
	{"signed-count", "N", OPTION_COUNT, PLACE(signed_count), 0, 64, .help = "how many"},
	{"seed", "N", OPTION_LONG, PLACE(seed), 0, INT64_MAX, .preset = "1", .help = "of chance"},
	{"bytes", "SIZE", OPTION_BYTES, PLACE(bytes), 4096, 1 << 20, .only = 1 << FETCH,
	 .help = "words that are so many that they do not stand beside each other in one line of the right column, "
		 "and so go on"},
	{"bytes", "SIZE", OPTION_BYTES, PLACE(all_bytes), 4096, UINT64_MAX, .only = 1 << STORE, .help = "all"},
	{"rate", "X", OPTION_NUMBER, PLACE(rate), .lowest = 0.5, .highest = 2.0, .only = 1 << FETCH,
	 .instead = "it is told", .help = "a number"},
	{"mode", "MODE", OPTION_NAME, PLACE(mode), .choices = modes, .only = 1 << STORE, .help = "fast or slow"},
	{"color-of-the-letters-and-lines", "COLOR", OPTION_CHOICE, PLACE(color), .choices = colors, .preset = "green",
	 .help = "of it"},
	{"own", "N", OPTION_OWN, .take = take_own, .value_may_lack = true, .value_is_digits = true, .help = "its own"},
	{"word", "WORD", OPTION_OWN, .take = take_own, .value_may_lack = true, .help = "attached"},
};

static enum options_result parse(unsigned command, const char *line, struct given *ret_given, int *ret_operands,
				 struct error *error)
{
	static char text[256];
	char *words[32] = {"program"}, *rest = NULL;
	int count = 1;
	const struct option_table table = {.program = command == FETCH ? "program fetch" : "program store",
					   .rows = rows,
					   .count = sizeof(rows) / sizeof(rows[0]),
					   .command = command,
					   .introduction = "Usage: program\n\n",
					   .conclusion = "The end.\n",
					   .version = "program 7",
					   .protocol = 3};
	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
		words[count++] = word;
	*ret_given = (struct given){.signed_count = -1, .rate = NAN};
	*error = (struct error){0};
	return options_parse(&table, count, words, ret_given, ret_operands, error);
}

static struct given taken(unsigned command, const char *line)
{
	struct given given;
	struct error error;
	if (parse(command, line, &given, NULL, &error) != OPTIONS_RUN)
		fail_msg("%s: %s", line, error.message);
	return given;
}

static void parse_of_nothing_gives_the_presets_alone(void **state)
{
	struct given given = taken(FETCH, "");
	assert_int_equal(given.count, 4);
	assert_int_equal(given.seed, 1);
	assert_int_equal(given.color, 1);
	assert_int_equal(given.signed_count, -1);
	assert_true(isnan(given.rate));
	assert_null(given.file);
	assert_false(given.quiet);
}

static void parse_takes_each_kind_of_value(void **state)
{
	struct given given =
		taken(FETCH, "-qf a --name=x --name y --count 64 --signed-count 0 --seed=9223372036854775807 "
			     "--bytes 4KiB --rate 5e-1 --color-of-the-letters-and-lines blue");
	assert_true(given.quiet);
	assert_string_equal(given.file, "a");
	assert_int_equal(given.names.count, 2);
	assert_string_equal(given.names.values[1], "y");
	assert_int_equal(given.count, 64);
	assert_int_equal(given.signed_count, 0);
	assert_int_equal(given.seed, INT64_MAX);
	assert_int_equal(given.bytes, 4096);
	assert_true(given.rate == 0.5);
	assert_int_equal(given.color, 2);
	assert_string_equal(taken(STORE, "--mode slow").mode, "slow");
	assert_string_equal(taken(STORE, "--mode SLOW").mode, "slow");          // the table's spelling
	assert_string_equal(taken(FETCH, "-qqqqqqqqqqqqqqqqqqqqfa").file, "a"); // more options than words
}

static void parse_knows_beginnings_and_other_names(void **state)
{
	assert_string_equal(taken(FETCH, "--fi=a").file, "a");
	assert_string_equal(taken(FETCH, "--the_file a").file, "a");
	assert_int_equal(taken(FETCH, "--sig 3").signed_count, 3);
	assert_int_equal(taken(FETCH, "--by 4KiB").bytes, 4096);
	assert_int_equal(taken(STORE, "--by 4KiB").all_bytes, 4096); // the row of the command
	assert_int_equal(taken(STORE, "--bytes 4KiB").bytes, 0);
}

static void parse_value_may_lack_takes_a_digit_alone(void **state)
{
	assert_string_equal(taken(FETCH, "--own 3").own, "3");
	assert_string_equal(taken(FETCH, "--own=x").own, "x");
	assert_true(taken(FETCH, "--own").own_was_bare);
	assert_true(taken(FETCH, "--own -q").own_was_bare);
	assert_string_equal(taken(FETCH, "--word=3").own, "3");
	assert_true(taken(FETCH, "--word").own_was_bare);
}

static void parse_operands_stand_behind_the_options(void **state)
{
	struct given given;
	struct error error;
	int first = 0;
	assert_int_equal(parse(FETCH, "one -q two -- -q", &given, &first, &error), OPTIONS_RUN);
	assert_true(given.quiet);
	assert_int_equal(first, 3); // program -q -- one two -q
	assert_int_equal(parse(FETCH, "-q", &given, &first, &error), OPTIONS_RUN);
	assert_int_equal(first, 2);
}

static void parse_wrong_says_option_value_and_what_is_allowed(void **state)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{"--fly", "option --fly is unknown; see program fetch --help"},
		{"--s 3", "option --s is unknown (is it --signed-count or --seed?); see program fetch --help"},
		{"--naem a", "option --naem is unknown (did you mean --name?); see program fetch --help"},
		{"--the-fil=a", "option --the-fil=a is unknown (did you mean --the_file?); see program fetch --help"},
		{"--mode fast", "option --mode is unknown; see program fetch --help"},
		{"-x", "option -x is unknown; see program fetch --help"},
		{"-qxf a", "option -x is unknown; see program fetch --help"},
		{"--quiet=yes", "option --quiet=yes takes no value; see program fetch --help"},
		{"--help=yes", "option --help=yes takes no value; see program fetch --help"},
		{"--count", "option --count needs a value; see program fetch --help"},
		{"-q -f", "option -f needs a value; see program fetch --help"},
		{"stray", "unexpected argument \"stray\"; see program fetch --help"},
		{"--word 3", "unexpected argument \"3\"; see program fetch --help"},
		{"--file=", "--file: the value is empty"},
		{"--name a --name b --name c", "--name: it may be given at most 2 times"},
		{"--count 0", "--count: \"0\" is not a whole number from 1 to 64"},
		{"--count 2x", "--count: \"2x\" is not a whole number from 1 to 64"},
		{"--bytes 4095", "--bytes: \"4095\" is not from 4.0 KiB to 1.0 MiB"},
		{"--bytes much",
		 "--bytes: \"much\" is not an amount of memory: write a number with KiB, MiB, GiB, TiB, MB or "
		 "GB, such as 16GiB"},
		{"--rate 2.1", "--rate: \"2.1\" is not a number from 0.5 to 2"},
		{"--rate nan", "--rate: \"nan\" is not a number from 0.5 to 2"},
		{"--color-of-the-letters-and-lines Geen",
		 "--color-of-the-letters-and-lines: \"Geen\" is not red, green or blue (did you mean green?)"},
		{"--own 9", "--own: not nine"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct given given;
		struct error error;
		assert_int_equal(parse(FETCH, cases[i].line, &given, NULL, &error), OPTIONS_WRONG);
		assert_int_equal(error.code, ERROR_USAGE);
		assert_string_equal(error.message, cases[i].message);
	}
}

static void parse_what_the_command_has_not_says_what_there_is_instead(void **state)
{
	struct given given;
	struct error error;
	assert_int_equal(parse(STORE, "--rat 1", &given, NULL, &error), OPTIONS_WRONG);
	assert_string_equal(error.message, "--rate is not an option of program store: it is told");
	assert_int_equal(parse(STORE, "--mode medium", &given, NULL, &error), OPTIONS_WRONG);
	assert_string_equal(error.message, "--mode: \"medium\" is not fast or slow");
	assert_int_equal(parse(STORE, "--bytes 1", &given, NULL, &error), OPTIONS_WRONG);
	assert_string_equal(error.message, "--bytes: \"1\" is less than 4.0 KiB; is the unit missing, as in 16GiB?");
}

// What a command line prints on standard output.
static void assert_prints(unsigned command, const char *line, const char *expected)
{
	struct given given;
	struct error error;
	char *text = NULL;
	size_t size = 0;
	FILE *before = stdout;
	stdout = open_memstream(&text, &size);
	assert_non_null(stdout);
	enum options_result result = parse(command, line, &given, NULL, &error);
	fclose(stdout);
	stdout = before;
	assert_int_equal(result, OPTIONS_DONE);
	assert_string_equal(text, expected);
	free(text);
}

static void parse_help_prints_the_rows_of_the_command(void **state)
{
	static const char fetch[] = "Usage: program\n"
				    "\n"
				    "  -f, --file FILE           of what\n"
				    "  -q, --quiet               no words\n"
				    "  --name NAME               one of two\n"
				    "\n"
				    "Numbers:\n"
				    "  --count N, --signed-count N\n"
				    "                            how many\n"
				    "  --seed N                  of chance (default 1)\n"
				    "  --bytes SIZE              words that are so many that they do not stand beside\n"
				    "                            each other in one line of the right column, and so\n"
				    "                            go on\n"
				    "  --rate X                  a number\n"
				    "  --color-of-the-letters-and-lines COLOR\n"
				    "                            of it (default green)\n"
				    "  --own [N]                 its own\n"
				    "  --word[=WORD]             attached\n"
				    "The end.\n";
	static const char store[] = "  --seed N                  of chance (default 1)\n"
				    "  --bytes SIZE              all\n"
				    "  --mode MODE               fast or slow\n";
	assert_prints(FETCH, "--help", fetch);
	assert_prints(FETCH, "-q -h --fly", fetch);
	assert_prints(FETCH, "--version", "program 7 (protocol 3)\n");
	char whole[2048];
	snprintf(whole, sizeof(whole), "%.*s%s%s", (int)(strstr(fetch, "  --seed") - fetch), fetch, store,
		 strstr(fetch, "  --color"));
	assert_prints(STORE, "--help", whole);
}

static void variable_is_the_name_in_capitals(void **state)
{
	char name[64];
	assert_string_equal(option_variable(&rows[4], name, sizeof(name)), "PENSTOCK_SIGNED_COUNT");
}

static void same_compares_by_kind(void **state)
{
	static const char *const lines[] = {"-q",
					    "-f a",
					    "--name a",
					    "--count 5",
					    "--signed-count 1",
					    "--seed 2",
					    "--bytes 5KiB",
					    "--rate 1.5",
					    "--color-of-the-letters-and-lines red"};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct given plain = taken(FETCH, "--rate 1"), other = taken(FETCH, lines[i]);
		uint32_t differing = 0;
		if (isnan(other.rate))
			other.rate = plain.rate;
		for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
			differing += !option_is_same(&rows[k], &plain, &other);
		if (differing != 1)
			fail_msg("%s: %u", lines[i], differing);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_of_nothing_gives_the_presets_alone),
		cmocka_unit_test(parse_takes_each_kind_of_value),
		cmocka_unit_test(parse_knows_beginnings_and_other_names),
		cmocka_unit_test(parse_value_may_lack_takes_a_digit_alone),
		cmocka_unit_test(parse_operands_stand_behind_the_options),
		cmocka_unit_test(parse_wrong_says_option_value_and_what_is_allowed),
		cmocka_unit_test(parse_what_the_command_has_not_says_what_there_is_instead),
		cmocka_unit_test(parse_help_prints_the_rows_of_the_command),
		cmocka_unit_test(variable_is_the_name_in_capitals),
		cmocka_unit_test(same_compares_by_kind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
