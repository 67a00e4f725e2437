// Errors: messages wrapped from the inside out, never beyond their size.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/error.h"

static void set_fills_code_and_message(void **state)
{
	struct error error;
	assert_false(error_set(&error, ERROR_PROTOCOL, "chunk %d of %s", 3, "node-b"));
	assert_int_equal(error.code, ERROR_PROTOCOL);
	assert_string_equal(error.message, "chunk 3 of node-b");
}

static void set_and_wrap_without_an_error_return_false(void **state)
{
	assert_false(error_set(NULL, ERROR_FAILED, "nobody listens"));
	assert_false(error_wrap(NULL, "nobody listens"));
}

static void wrap_puts_the_context_first_and_keeps_the_code(void **state)
{
	struct error error = {0};
	error_set(&error, ERROR_OUT_OF_MEMORY, "shape is (1000, 4096)");
	assert_false(error_wrap(&error, "load %s", "classifier.6.weight"));
	error_wrap(&error, "start stage %u", 1);
	assert_string_equal(error.message, "start stage 1: load classifier.6.weight: shape is (1000, 4096)");
	assert_int_equal(error.code, ERROR_OUT_OF_MEMORY);
}

static void set_and_wrap_long_messages_are_cut(void **state)
{
	struct error error = {0};
	char text[2 * ERROR_MESSAGE_SIZE];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_set(&error, ERROR_FAILED, "%s", text);
	assert_int_equal(strlen(error.message), ERROR_MESSAGE_SIZE - 1);
	error_wrap(&error, "context");
	assert_int_equal(strlen(error.message), ERROR_MESSAGE_SIZE - 1);
	assert_int_equal(strncmp(error.message, "context: xxx", 12), 0);
	error_wrap(&error, "%s", text);
	assert_int_equal(strlen(error.message), ERROR_MESSAGE_SIZE - 1);
}

static void exit_code_is_the_documented_one(void **state)
{
	static const struct {
		enum error_code code;
		int expected;
	} cases[] = {
		{ERROR_NONE, 0},          {ERROR_FAILED, 1},      {ERROR_USAGE, 2},
		{ERROR_OUT_OF_MEMORY, 3}, {ERROR_UNREACHABLE, 4}, {ERROR_PROTOCOL, 1},
		{ERROR_VERSION, 1},       {ERROR_LIMIT, 1},       {ERROR_CANCELLED, 1},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error error = {.code = cases[i].code};
		assert_int_equal(error_exit_code(&error), cases[i].expected);
	}
}

static void code_name_is_a_metric_label(void **state)
{
	for (int code = ERROR_NONE; code <= ERROR_CANCELLED; code++) {
		const char *name = error_code_name((enum error_code)code);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
		for (int other = ERROR_NONE; other < code; other++)
			assert_string_not_equal(name, error_code_name((enum error_code)other));
	}
	assert_string_equal(error_code_name((enum error_code)999), "failed"); // a peer's number
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_fills_code_and_message),
		cmocka_unit_test(set_and_wrap_without_an_error_return_false),
		cmocka_unit_test(wrap_puts_the_context_first_and_keeps_the_code),
		cmocka_unit_test(set_and_wrap_long_messages_are_cut),
		cmocka_unit_test(exit_code_is_the_documented_one),
		cmocka_unit_test(code_name_is_a_metric_label),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
