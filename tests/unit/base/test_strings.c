// Numbers and amounts of memory, as people write them.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"

static void parse_bytes_units_are_taken(void **state)
{
	static const struct {
		const char *text;
		uint64_t expected;
	} cases[] = {
		{"0", 0},
		{"1024", 1024},
		{"1KiB", 1024},
		{"512MiB", 512ull << 20},
		{"16GiB", 16ull << 30},
		{"2TiB", 2ull << 40},
		{"1.5GiB", 3ull << 29},
		{"1.5GB", 1500000000},
		{"3 MiB", 3 << 20},
		{"2G", 2ull << 30},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 1;
		struct error error = {0};
		assert_true(strings_parse_bytes(cases[i].text, &bytes, &error));
		assert_true(bytes == cases[i].expected);
	}
}

static void parse_bytes_anything_else_is_refused(void **state)
{
	static const char *const texts[] = {"",    "GiB", "-1",    "-1GiB",   "1XiB", "1GiBs",
					    "nan", "inf", "1e300", "1e10TiB", "1 2"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		uint64_t bytes = 77;
		struct error error = {0};
		if (strings_parse_bytes(texts[i], &bytes, &error))
			fail_msg("\"%s\" was taken", texts[i]);
		assert_int_equal(error.code, ERROR_USAGE);
		assert_non_null(strstr(error.message, "16GiB"));
		assert_int_equal(bytes, 77);
	}
}

static void parse_integer_limits_hold(void **state)
{
	int64_t value = 0;
	struct error error = {0};
	assert_true(strings_parse_integer("1", 1, 5, &value, &error) && value == 1);
	assert_true(strings_parse_integer("5", 1, 5, &value, &error) && value == 5);
	assert_true(strings_parse_integer("-9223372036854775808", INT64_MIN, INT64_MAX, &value, &error) &&
		    value == INT64_MIN);
	static const char *const texts[] = {"0", "6", "", "x", "3x", "3.0", "0x3", "99999999999999999999", "-1", "3 "};
	value = 77;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (strings_parse_integer(texts[i], 1, 5, &value, &error))
			fail_msg("\"%s\" was taken", texts[i]);
		assert_int_equal(error.code, ERROR_USAGE);
		assert_non_null(strstr(error.message, "from 1 to 5"));
	}
	assert_int_equal(value, 77);
}

static void parse_number_only_finite_ones_are_taken(void **state)
{
	double value = 0;
	struct error error = {0};
	assert_true(strings_parse_number("1e-3", &value, &error) && value == 1e-3);
	assert_true(strings_parse_number("1e-400", &value, &error) && value == 0);
	assert_true(strings_parse_number("-2.5", &value, &error) && value == -2.5);
	static const char *const texts[] = {"", "nan", "inf", "1e999", "one", "1,5", "1 "};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strings_parse_number(texts[i], &value, &error))
			fail_msg("\"%s\" was taken", texts[i]);
	assert_true(value == -2.5);
}

static void format_bytes_reads_well(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *expected;
	} cases[] = {
		{0, "0 B"},        {1023, "1023 B"},        {1024, "1.0 KiB"},
		{1536, "1.5 KiB"}, {5ull << 30, "5.0 GiB"}, {UINT64_MAX, "16777216.0 TiB"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[32];
		assert_string_equal(strings_format_bytes(cases[i].bytes, text, sizeof(text)), cases[i].expected);
	}
	char small[4];
	strings_format_bytes(1536, small, sizeof(small));
	assert_string_equal(small, "1.5");
}

static void make_printable_only_control_characters_and_broken_utf8_are_replaced(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"", ""},
		{"node-b: out of memory", "node-b: out of memory"},
		{"a\n2026 error forged\x1b[31m\x7f\t", "a?2026 error forged?[31m??"},
		{"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
		{"\x9b"
		 "31m",
		 "?31m"}, // the CSI of an 8-bit terminal
		{"\xc2\x9b"
		 "31m",
		 "??31m"}, // and of one that reads UTF-8
		{"\xc2\xa0", "\xc2\xa0"},
		{"\xc0\x8a\xe0\x82\x8a\xf0\x80\x80\x8a", "?????????"}, // overlong newlines
		{"\xed\xa0\x80", "???"},                               // a surrogate
		{"\xf4\x90\x80\x80", "????"},                          // above U+10FFFF
		{"\xe2\x82", "??"},                                    // cut short
		{"\xe2\x1b[m", "??[m"},
		{"\xff\xfe", "??"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[64];
		strcpy(text, cases[i].text);
		strings_make_printable(text);
		assert_string_equal(text, cases[i].expected);
	}
}

static void printable_copy_is_cut(void **state)
{
	char text[6];
	assert_string_equal(strings_printable("\x1b[2J and more", text, sizeof(text)), "?[2J ");
	assert_string_equal(strings_printable("four\xc3\xa9", text, sizeof(text)), "four?"); // cut in a character
}

static void shortest_decimal_reads_as_the_float(void **state)
{
	assert_true(strings_shortest_decimal(0.485f) == 0.485);
	assert_true(strings_shortest_decimal(0.01f) == 0.01);
	assert_true(strings_shortest_decimal(-3.0f) == -3.0);
	assert_true(strings_shortest_decimal(0.0f) == 0);
	assert_true(strings_shortest_decimal(3e-5f) == 3e-5);
	assert_true(strings_shortest_decimal(1e-30f) == 1e-30);
	assert_true(strings_shortest_decimal((float)0.030102999566398114) == 0.030103);
	assert_true((float)strings_shortest_decimal(1.0f / 3.0f) == 1.0f / 3.0f);
	assert_true(isinf(strings_shortest_decimal(INFINITY)));
}

static void guess_of_a_misspelled_name_is_the_closest_one(void **state)
{
	static const char *const names[] = {"train", "plan",  "top", "--micro-batch-size",
					    "vgg11", "vgg16", "cpu", NULL};
	static const struct {
		const char *word, *expected; // NULL: none is close
	} cases[] = {
		{"trian", "train"}, // neighbours swapped
		{"rain", "train"},
		{"trainn", "train"},
		{"TRIAN", "train"},
		{"tp", "top"},
		{"vgg-16", "vgg16"},
		{"vgg12", "vgg11"}, // of equals the first
		{"--micro_batchsize", "--micro-batch-size"},
		{"gpu", NULL},                     // of short words the first letter counts
		{"--micro", "--micro-batch-size"}, // a beginning
		{"fly", NULL},
		{"", NULL},
		{"p", NULL},
		{"a word of which no name is as long as it is, by far", NULL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char hint[STRINGS_GUESS_SIZE], expected[STRINGS_GUESS_SIZE] = "";
		if (cases[i].expected != NULL)
			snprintf(expected, sizeof(expected), " (did you mean %s?)", cases[i].expected);
		assert_string_equal(strings_guess_of(cases[i].word, names, hint, sizeof(hint)), expected);
	}
}

static void plural_is_of_everything_but_one(void **state)
{
	assert_string_equal(strings_plural(0), "s");
	assert_string_equal(strings_plural(1), "");
	assert_string_equal(strings_plural(2), "s");
}

static void unsigned_nan_is_printed_without_a_sign(void **state)
{
	char text[8];
	snprintf(text, sizeof(text), "%g", strings_unsigned_nan(-NAN));
	assert_string_equal(text, "nan");
	snprintf(text, sizeof(text), "%g", strings_unsigned_nan(-INFINITY)); // everything else stays
	assert_string_equal(text, "-inf");
	assert_true(strings_unsigned_nan(-1.5) == -1.5);
}

static void write_wrapped_keeps_to_80_columns(void **state)
{
	char word[120], text[400], *written = NULL;
	size_t size = 0;
	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	snprintf(text, sizeof(text), "  %.39s %.40s  %.1s %s end", word, word, word, word);
	FILE *out = open_memstream(&written, &size);
	assert_non_null(out);
	strings_write_wrapped(text, out);
	assert_int_equal(fclose(out), 0);
	snprintf(text, sizeof(text), "%.39s %.40s\n%.1s\n%s\nend\n", word, word, word, word);
	assert_string_equal(written, text);
	free(written);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shortest_decimal_reads_as_the_float),
		cmocka_unit_test(parse_bytes_units_are_taken),
		cmocka_unit_test(parse_bytes_anything_else_is_refused),
		cmocka_unit_test(parse_integer_limits_hold),
		cmocka_unit_test(parse_number_only_finite_ones_are_taken),
		cmocka_unit_test(format_bytes_reads_well),
		cmocka_unit_test(plural_is_of_everything_but_one),
		cmocka_unit_test(unsigned_nan_is_printed_without_a_sign),
		cmocka_unit_test(write_wrapped_keeps_to_80_columns),
		cmocka_unit_test(make_printable_only_control_characters_and_broken_utf8_are_replaced),
		cmocka_unit_test(printable_copy_is_cut),
		cmocka_unit_test(guess_of_a_misspelled_name_is_the_closest_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
