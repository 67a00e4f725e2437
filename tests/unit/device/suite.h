// Stamps one list of cases over every device of the build: cmocka names are "<device>: <case>", and a case gets the
// device's operations as its state.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/device/harness.h"

struct suite_case {
	const char *name;
	void (*run)(void **state);
};

#define SUITE_CASE(function)                                                                                           \
	{                                                                                                              \
#function, function                                                                                    \
	}

static inline int suite_run(const char *group, const struct suite_case *cases, size_t count)
{
	int failed = 0;
	for (const struct device_ops *const *ops = device_table; *ops != NULL; ops++) {
		struct CMUnitTest *tests = calloc(count, sizeof(*tests));
		char(*names)[128] = calloc(count, sizeof(*names));
		for (size_t i = 0; i < count; i++) {
			snprintf(names[i], sizeof(names[i]), "%s: %s", (*ops)->name, cases[i].name);
			tests[i] = (struct CMUnitTest){
				.name = names[i],
				.test_func = cases[i].run,
				.initial_state = (void *)(uintptr_t)*ops,
			};
		}
		failed += _cmocka_run_group_tests(group, tests, count, NULL, NULL);
		free(names);
		free(tests);
	}
	return failed;
}
