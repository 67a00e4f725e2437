// Stamps one list of cases over every device of the build that this machine has: cmocka names are "<device>: <case>", and a case
// gets the device's operations as its state. With $PENSTOCK_TEST_DEVICE ("cuda") only over that one, which must be there.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static inline bool suite_has(const struct device_ops *ops)
{
	const char *wanted = getenv("PENSTOCK_TEST_DEVICE");
	if (wanted != NULL)
		return strcmp(wanted, ops->name) == 0;
	struct error error;
	struct device *device = NULL;
	bool opened = ops->create(&(struct device_options){.name = ops->name, .threads = 1}, &device, &error);
	if (opened)
		ops->destroy(device);
	else
		printf("%s: left out: %s\n", ops->name, error.message);
	return opened;
}

static inline int suite_run(const char *group, const struct suite_case *cases, size_t count)
{
	int failed = 0, run = 0;
	for (const struct device_ops *const *ops = device_table; *ops != NULL; ops++) {
		if (!suite_has(*ops))
			continue;
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
		run++;
		failed += _cmocka_run_group_tests(group, tests, count, NULL, NULL);
		free(names);
		free(tests);
	}
	if (run == 0)
		fprintf(stderr, "no device was tested\n");
	return run == 0 ? 1 : failed;
}
