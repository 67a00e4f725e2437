// Chooses kernels by a rule that a test gives. See picker.h.
#include "tests/unit/device/picker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool recall(void *user, struct choice *choices, uint32_t count, struct error *error)
{
	struct picker *picker = user;
	assert_true(count <= PICKER_MAXIMUM);
	picker->recalls++;
	picker->count = count;
	picker->open = 0;
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(choices[i].answer[0], '\0');
		picker->asked[i] = choices[i];
		if (picker->known != NULL)
			snprintf(choices[i].answer, sizeof(choices[i].answer), "%s", picker->known);
	}
	return true;
}

static bool settle(void *user, struct choice *const *open, uint32_t count, struct error *error)
{
	struct picker *picker = user;
	picker->open = count;
	for (uint32_t i = 0; i < count; i++) {
		struct choice *choice = open[i];
		uint32_t place = picker->pick != NULL ? picker->pick(picker->user, choice) % choice->count : 0;
		for (uint32_t c = 0; picker->runs_all && c < choice->count; c++)
			assert_true(choice->run(choice->context, c));
		memcpy(choice->answer, choice->names[place], sizeof(choice->answer));
		for (uint32_t j = 0; j < picker->count; j++)
			if (picker->asked[j].layer == choice->layer && strcmp(picker->asked[j].key, choice->key) == 0)
				picker->asked[j] = *choice;
	}
	return true;
}

void picker_init(struct picker *picker)
{
	memset(picker, 0, sizeof(*picker));
	picker->chooser = (struct chooser){.recall = recall, .settle = settle, .user = picker};
}

const struct choice *picker_find(const struct picker *picker, const char *text)
{
	for (uint32_t i = 0; i < picker->count; i++)
		if (strstr(picker->asked[i].key, text) != NULL)
			return &picker->asked[i];
	return NULL;
}
