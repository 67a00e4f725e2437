// Numbers in JSON: as few digits as give the same double back.
#include "tests/unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/random.h"
#include "coordinator/report/json_text.h"

static void text_has_the_fewest_digits(void **state)
{
	static const struct {
		const char *json, *expected;
	} cases[] = {
		{"[0.1,0.01,0.25,1.0,100.0,0.1]", "[0.1,0.01,0.25,1.0,100.0,0.1]"},
		{"{\"a\":0.10000000000000001}", "{\"a\":0.1}"},
		{"[0.30000000000000004,1e300,-2.5e-7,1e-8]", "[0.30000000000000004,1e+300,-2.5e-07,1e-8]"},
		{"[12345678901234,true,false,null,-0.0]", "[12345678901234,true,false,null,-0.0]"},
		{"{\"0.10000000000000001\":\"\\\"0.10000000000000001e\"}",
		 "{\"0.10000000000000001\":\"\\\"0.10000000000000001e\"}"},
		{"[]", "[]"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *value = json_loads(cases[i].json, 0, NULL);
		assert_non_null(value);
		char *text = json_text(value);
		assert_string_equal(text, cases[i].expected);
		free(text);
		json_decref(value);
	}
}

static void text_gives_every_double_back(void **state)
{
	struct random_key key = random_key_make(1, RANDOM_DATASET, 0);
	for (uint64_t i = 0; i < 20000; i++) {
		uint32_t words[4];
		double number;
		random_block(key, i, 0, words);
		if (i % 2 == 0)
			memcpy(&number, words, sizeof(number)); // any double
		else
			number = words[0] % 100000 / 1000.0;
		json_t *value = json_pack("[o]", json_real(number));
		if (value == NULL) // NaN and infinity
			continue;
		char *text = json_text(value);
		json_t *again = json_loads(text, 0, NULL);
		if (again == NULL || !json_equal(value, again))
			fail_msg("%.17g became %s", number, text);
		json_decref(again);
		json_decref(value);
		free(text);
	}
}

static void write_puts_one_line_or_says_why_not(void **state)
{
	char line[40];
	struct error error;
	FILE *file = fmemopen(line, sizeof(line), "w");
	assert_non_null(file);
	assert_true(json_text_write(file, json_pack("{s:f}", "a", 0.1), &error));
	assert_false(json_text_write(file, NULL, &error));
	assert_non_null(strstr(error.message, "--json: Cannot allocate memory"));
	fclose(file);
	assert_string_equal(line, "{\"a\":0.1}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_has_the_fewest_digits),
		cmocka_unit_test(text_gives_every_double_back),
		cmocka_unit_test(write_puts_one_line_or_says_why_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
