// Names and state of the optimizers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/model/optimizer.h"

static void parse_names_in_any_case_are_taken(void **state)
{
	enum optimizer_kind kind = OPTIMIZER_SGD;
	assert_true(optimizer_parse("AdamW", &kind));
	assert_int_equal(kind, OPTIMIZER_ADAMW);
	assert_true(optimizer_parse("ADAM", &kind));
	assert_int_equal(kind, OPTIMIZER_ADAM);
	assert_true(optimizer_parse("sgd", &kind));
	assert_int_equal(kind, OPTIMIZER_SGD);
}

static void parse_other_names_are_refused_and_leave_the_output(void **state)
{
	static const char *const bad[] = {"", "Adam W", "Muon", "SGD ", "Ada"};
	enum optimizer_kind kind = OPTIMIZER_ADAM;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(optimizer_parse(bad[i], &kind));
	assert_int_equal(kind, OPTIMIZER_ADAM);
}

static void name_is_pytorchs_and_parses_back(void **state)
{
	static const char *const expected[OPTIMIZER_COUNT] = {"SGD", "Adam", "AdamW", "Lamb", "Lion", "Adagrad"};
	static const uint32_t tensors[OPTIMIZER_COUNT] = {1, 2, 2, 2, 1, 1};
	for (int i = 0; i < OPTIMIZER_COUNT; i++) {
		enum optimizer_kind kind;
		struct optimizer optimizer;
		assert_string_equal(optimizer_name((enum optimizer_kind)i), expected[i]);
		assert_true(optimizer_parse(expected[i], &kind));
		assert_int_equal(kind, i);
		optimizer_defaults(kind, &optimizer);
		assert_int_equal(optimizer.kind, i);
		assert_int_equal(optimizer_state_tensors(&optimizer), tensors[i]);
		assert_non_null(strstr(optimizer_names(), expected[i]));
	}
	struct optimizer without = {.kind = OPTIMIZER_SGD, .no_momentum = true};
	assert_int_equal(optimizer_state_tensors(&without), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_names_in_any_case_are_taken),
		cmocka_unit_test(parse_other_names_are_refused_and_leave_the_output),
		cmocka_unit_test(name_is_pytorchs_and_parses_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
