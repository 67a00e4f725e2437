// See choice.h.
#include "stage_server/device/choice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool choices_init(struct choices *choices, uint32_t capacity, struct error *error)
{
	choices->all = calloc((size_t)capacity + 1, sizeof(*choices->all));
	choices->count = 0;
	choices->capacity = capacity;
	return choices->all != NULL || error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
}

void choices_fini(struct choices *choices)
{
	free(choices->all);
	*choices = (struct choices){0};
}

struct choice *choices_add(struct choices *choices, uint32_t layer, const char *key)
{
	struct choice *choice = &choices->all[choices->count++];
	choice->layer = layer;
	snprintf(choice->key, sizeof(choice->key), "%s", key);
	return choice;
}

uint32_t choice_find(const struct choice *choice, const char *name)
{
	uint32_t i = 0;
	while (i < choice->count && strcmp(choice->names[i], name) != 0)
		i++;
	return i;
}

uint32_t choice_index(const struct choice *choice)
{
	return choice != NULL ? choice_find(choice, choice->answer) : 0;
}

bool choices_recall(struct choices *choices, const struct chooser *chooser, struct error *error)
{
	return chooser == NULL || chooser->recall(chooser->user, choices->all, choices->count, error);
}

// A single candidate needs no answer. If the answer names another kernel, that is an error.
static bool is_settled(struct choice *choice, const struct chooser *chooser)
{
	if (choice->answer[0] == '\0' && choice->count > 0 && (choice->count == 1 || chooser == NULL))
		memcpy(choice->answer, choice->names[0], sizeof(choice->answer));
	return choice_index(choice) < choice->count;
}

bool choices_settle(struct choices *choices, const struct chooser *chooser, struct error *error)
{
	struct choice **open = calloc((size_t)choices->count + 1, sizeof(*open));
	uint32_t count = 0;
	if (open == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	for (uint32_t i = 0; i < choices->count; i++)
		if (!is_settled(&choices->all[i], chooser))
			open[count++] = &choices->all[i];
	bool ok = count == 0 || (chooser != NULL ? chooser->settle(chooser->user, open, count, error)
						 : error_set(error, ERROR_FAILED, "no kernel for %s", open[0]->key));
	for (uint32_t i = 0; i < count && ok; i++)
		ok = choice_index(open[i]) < open[i]->count ||
		     error_set(error, ERROR_FAILED, "the kernel %s for %s is not one of the %u candidates",
			       open[i]->answer, open[i]->key, open[i]->count);
	free(open);
	return ok;
}
