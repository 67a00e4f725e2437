// Hjson: what is accepted and what it means, the places of members, and mistakes, which are all told at once. The meanings are those of
// Python's hjson 3.1.0, which integration.hjson asks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/config/hjson.h"

static void assert_means(const char *text, const char *json)
{
	struct mistakes mistakes = {0};
	struct hjson *document;
	struct error error;
	json_t *expected = json_loads(json, JSON_ALLOW_NUL, NULL);
	assert_non_null(expected);
	if (!hjson_parse(text, strlen(text), &mistakes, &document)) {
		mistakes_report(&mistakes, "text", &error);
		fail_msg("%s: %s", text, error.message);
	}
	assert_int_equal(mistakes.count, 0);
	if (!json_equal(hjson_root(document), expected)) {
		char *got = json_dumps(hjson_root(document), JSON_COMPACT);
		fail_msg("%s: %s, not %s", text, got, json);
	}
	json_decref(expected);
	hjson_destroy(document);
	mistakes_fini(&mistakes);
}

static void parse_accepts_what_hjson_accepts(void **state)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{"", "{}"},
		{" # only a comment", "{}"},
		{"{}", "{}"},
		{"\xef\xbb\xbf{a: 1}", "{\"a\": 1}"},
		{"{\"a\": 1,}", "{\"a\": 1}"},
		{"{\n\"a\": 1\n\"b\": 2}", "{\"a\": 1, \"b\": 2}"},
		{"{a: 1, b: 2} // after", "{\"a\": 1, \"b\": 2}"},
		{"{a: 1 # x\n 'b' /* y */: 2 // z\n}", "{\"a\": 1, \"b\": 2}"},
		{"a: 1\nb: [1, 2\n3,]\n", "{\"a\": 1, \"b\": [1, 2, 3]}"},
		{"a: {b: {}}", "{\"a\": {\"b\": {}}}"},
		{"a  : 1", "{\"a\": 1}"},
		{"a\n:\n1", "{\"a\": 1}"},
		{"#a: 1\nb#c: 2\nd//e: 3", "{\"b#c\": 2, \"d//e\": 3}"},
		{"{a: text without quotes, and # no comment\nb: 'x'}",
		 "{\"a\": \"text without quotes, and # no comment\", \"b\": \"x\"}"},
		{"{a: true, b: false, c: null, d: truex\n}",
		 "{\"a\": true, \"b\": false, \"c\": null, \"d\": \"truex\"}"},
		{"a: true false\nb: null # none\nc: nulls, 1\n",
		 "{\"a\": \"true false\", \"b\": null, \"c\": \"nulls, 1\"}"},
		{"{a: 1, b: -2.5, c: 1e3, d: 1.0, e: 0.1, f: -0, g: 1E-2}",
		 "{\"a\": 1, \"b\": -2.5, \"c\": 1000, \"d\": 1, \"e\": 0.1, \"f\": 0, \"g\": 0.01}"},
		{"a: 05\nb: .5\nc: +1\nd: 1.\ne: 0x10\nf: 1e\ng: -\nh: 1 2\n",
		 "{\"a\": \"05\", \"b\": \".5\", \"c\": \"+1\", \"d\": \"1.\", \"e\": \"0x10\", \"f\": \"1e\", \"g\": "
		 "\"-\", \"h\": \"1 2\"}"},
		{"a: NaN\nb: Infinity\nc: -inf", "{\"a\": \"NaN\", \"b\": \"Infinity\", \"c\": \"-inf\"}"},
		{"a: 12345678901234567890\nb: 1e10", "{\"a\": 12345678901234567890.0, \"b\": 1e10}"},
		{"a: /path/x\nb: http://x/y\n", "{\"a\": \"/path/x\", \"b\": \"http://x/y\"}"},
		{"a: \"q\\\"\\/\\\\\\n\\u00e9\\ud83d\\ude00\"\nb: 'single \" quote'\nc: \"it's\"",
		 "{\"a\": \"q\\\"/\\\\\\n\xc3\xa9\xf0\x9f\x98\x80\", \"b\": \"single \\\" quote\", \"c\": \"it's\"}"},
		{"a: '''one'''\nb: ''''''\n", "{\"a\": \"one\", \"b\": \"\"}"},
		{"{\n  a:\n  '''\n  first\n    second\n\n  third\n  '''\n}",
		 "{\"a\": \"first\\n  second\\n\\nthird\"}"},
		{"{a: 'x'\r\n b: two words\r\n}", "{\"a\": \"x\", \"b\": \"two words\"}"},
		{"a: b\xc2\xa0\n", "{\"a\": \"b\"}"},
		{"\"a b\": 1, '': 2", "{\"a b\": 1, \"\": 2}"},
		{"a: [\n one\n two\n]", "{\"a\": [\"one\", \"two\"]}"},
		{"{a: [[], {}, [1,],],}", "{\"a\": [[], {}, [1]]}"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_means(cases[i].text, cases[i].json);
}

// Each mistake in a line of its own, as mistakes_report has them.
static void assert_mistakes(const char *text, size_t size, const char *expected)
{
	struct mistakes mistakes = {0};
	struct hjson *document = NULL;
	struct error error = {0};
	bool parsed = hjson_parse(text, size, &mistakes, &document);
	if (mistakes_report(&mistakes, "f", &error))
		fail_msg("%s: no mistake", text);
	if (strcmp(error.message, expected) != 0)
		fail_msg("%s:\n%s\nexpected:\n%s", text, error.message, expected);
	assert_int_equal(error.code, ERROR_USAGE);
	if (parsed)
		hjson_destroy(document);
	mistakes_fini(&mistakes);
}

static void parse_tells_all_mistakes_with_their_places(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"[1]", "f: line 1, column 1: expected an object, { ... }, and found a list"},
		{"5", "f: line 1, column 1: expected a key and a colon (:)"},
		{"{a: 1", "f: line 1, column 1: the object that begins here has no closing brace (})"},
		{"{\n a: {b: 1\n", "f: line 2, column 5: the object that begins here has no closing brace (})"},
		{"{a: [1, 2}", "f: line 1, column 5: the list that begins here has no closing bracket (])"},
		{"{a: 1}}", "f: line 1, column 7: text follows the closing brace (}) of the file"},
		{"{a }", "f: line 1, column 4: expected a colon (:) after the key \"a\""},
		{"a: 1\n}", "f: line 2, column 1: a closing brace (}) without an opening one"},
		{"{a: 1,, b: 2}", "f: line 1, column 7: found , where a key and a colon (:) were expected"},
		{"{a: }", "f: line 1, column 5: a value is missing here"},
		{"{a: , b: }", "f: 2 mistakes\n  line 1, column 5: a value is missing here\n"
			       "  line 1, column 10: a value is missing here"},
		{"{\"a\" 1, \"b\": 2}", "f: line 1, column 6: expected a colon (:) after the key \"a\""},
		{"{\n\"a\" 1,\n\"b\": 2,\n'c' 3\n}",
		 "f: 2 mistakes\n  line 2, column 5: expected a colon (:) after the key \"a\"\n"
		 "  line 4, column 5: expected a colon (:) after the key \"c\""},
		{"{a b: 1}",
		 "f: line 1, column 3: a blank in a key without quotes: is a comma or a colon missing before it? "
		 "If it belongs to the key, write quotes around the key"},
		{"{a: \"x\n b: 1}",
		 "f: line 1, column 5: the string that begins here has no closing quote in its line"},
		{"{a: \"\\q\", b: \"\\u12\", c: \"\\ud800\", d: \"\t\"}",
		 "f: 4 mistakes\n  line 1, column 6: unknown escape \\q\n"
		 "  line 1, column 15: \\u needs four hexadecimal digits\n"
		 "  line 1, column 26: \\ud800 is not a character\n"
		 "  line 1, column 39: a control character in a string: write it as \\u0009"},
		{"{a: '''x", "f: line 1, column 5: the string that begins here has no end: '''"},
		{"{a: 1 /* x", "f: line 1, column 7: the comment that begins here has no end: */"},
		{"{a: 1e999}", "f: line 1, column 5: the number is too large"},
		{"{\xc3\xa9: 1, \xc3\xa9: 2}",
		 "f: line 1, column 8: duplicate key \"\xc3\xa9\"; the first is at line 1, column 2"},
		{"{a: 1, b: {c: 1, c: 2}\n \"a\": 3, a: 4}",
		 "f: 3 mistakes\n  line 1, column 18: duplicate key \"c\"; the first is at line 1, column 12\n"
		 "  line 2, column 2: duplicate key \"a\"; the first is at line 1, column 2\n"
		 "  line 2, column 10: duplicate key \"a\"; the first is at line 1, column 2"},
		{"{a: \xff}", "f: line 1, column 5: this byte is not text in UTF-8"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_mistakes(cases[i].text, strlen(cases[i].text), cases[i].expected);
	assert_mistakes("{a: \0}", 6, "f: line 1, column 5: a zero byte: the file is not text");
}

static void parse_many_mistakes_are_counted(void **state)
{
	static char text[200000];
	size_t length = 0;
	for (int i = 0; i < 20000; i++)
		length += (size_t)sprintf(text + length, "a: 1\n");
	struct mistakes mistakes = {0};
	struct hjson *document;
	struct error error = {0};
	assert_true(hjson_parse(text, length, &mistakes, &document));
	assert_false(mistakes_report(&mistakes, "f", &error));
	assert_int_equal(strncmp(error.message, "f: 19999 mistakes\n  line 2, column 1: duplicate key", 50), 0);
	unsigned shown = 0, more = 0;
	for (const char *c = error.message; (c = strstr(c, "\n  line")) != NULL; c++)
		shown++;
	assert_int_equal(sscanf(strstr(error.message, "\n  and "), "\n  and %u more", &more), 1);
	assert_int_equal(shown + more, 19999);
	hjson_destroy(document);
	mistakes_fini(&mistakes);
}

static void parse_depth_is_limited(void **state)
{
	static char text[1 << 20];
	struct mistakes mistakes = {0};
	struct hjson *document;
	struct error error = {0};
	memset(text, '[', sizeof(text));
	memcpy(text, "a: ", 3);
	assert_false(hjson_parse(text, sizeof(text), &mistakes, &document));
	assert_false(mistakes_report(&mistakes, "f", &error));
	assert_non_null(strstr(error.message, "line 1, column 260: objects and lists are nested too deeply"));
	mistakes_fini(&mistakes);
	size_t at = 3;
	for (int i = 0; i < HJSON_MAXIMUM_DEPTH; i++)
		text[at + HJSON_MAXIMUM_DEPTH + i] = ']';
	assert_true(hjson_parse(text, at + 2 * HJSON_MAXIMUM_DEPTH, &mistakes, &document));
	hjson_destroy(document);
	mistakes_fini(&mistakes);
}

static void place_is_that_of_the_key(void **state)
{
	static const char text[] = "{\n  a: 1\n  /* \xc3\xa9 */ \"b\": {c: 2}}";
	struct mistakes mistakes = {0};
	struct hjson *document;
	assert_true(hjson_parse(text, strlen(text), &mistakes, &document));
	json_t *root = hjson_root(document), *inner = json_object_get(root, "b");
	struct mistakes_place a = hjson_place(document, root, "a"), b = hjson_place(document, root, "b");
	struct mistakes_place c = hjson_place(document, inner, "c");
	assert_true(a.line == 2 && a.column == 3 && b.line == 3 && b.column == 11 && c.line == 3 && c.column == 17);
	assert_int_equal(hjson_place(document, root, "c").line, 0);
	json_object_set_new(root, "a", json_integer(2)); // no longer the file's
	assert_int_equal(hjson_place(document, root, "a").line, 0);
	hjson_destroy(document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_accepts_what_hjson_accepts),
		cmocka_unit_test(parse_tells_all_mistakes_with_their_places),
		cmocka_unit_test(parse_many_mistakes_are_counted),
		cmocka_unit_test(parse_depth_is_limited),
		cmocka_unit_test(place_is_that_of_the_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
