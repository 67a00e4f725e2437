// See resume.h.
#include "coordinator/sweep/resume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"

enum { VALUE_SIZE = 80, DIFFERENCES_SIZE = 600, SHOWN = 3 };

static char *value_text(const json_t *value, char *into, size_t size)
{
	char *text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
	strings_printable(text != NULL ? text : "not there", into, size);
	free(text);
	return into;
}

struct differences {
	char text[DIFFERENCES_SIZE];
	uint32_t count;
};

static void note(struct differences *differences, const char *name, const json_t *now, const json_t *before)
{
	char now_text[VALUE_SIZE], before_text[VALUE_SIZE];
	size_t used = strlen(differences->text);
	if (json_equal(now, before) || ++differences->count > SHOWN)
		return;
	snprintf(differences->text + used, sizeof(differences->text) - used, "%s%s is %s now, and was %s",
		 used > 0 ? "; " : "", name, value_text(now, now_text, sizeof(now_text)),
		 value_text(before, before_text, sizeof(before_text)));
}

static bool check_setting(const struct sweep *sweep, const struct sweep *before, const char *path, struct error *error)
{
	struct differences differences = {0};
	const char *name;
	json_t *value;
	json_object_foreach(sweep->setting, name, value)
		note(&differences, name, value, json_object_get(before->setting, name));
	json_object_foreach(before->setting, name, value) if (json_object_get(sweep->setting, name) == NULL)
		note(&differences, name, NULL, value);
	return differences.count == 0 ||
	       error_set(error, ERROR_USAGE,
			 "%s: was made with other settings: %s%s; continue with those, or name another --output", path,
			 differences.text, differences.count > SHOWN ? "; and more" : "");
}

static bool has_result(const struct sweep_result *result)
{
	return result->outcome == SWEEP_DONE || result->outcome == SWEEP_OUT_OF_MEMORY ||
	       result->outcome == SWEEP_DIVERGED;
}

static bool check_cells(const struct sweep *sweep, const struct sweep *before, const char *path, struct error *error)
{
	char label[SWEEP_LABEL_SIZE];
	for (uint32_t i = 0; i < before->count; i++)
		if (has_result(&before->results[i]) && sweep_find(sweep, before->results[i].cell) == NULL)
			return error_set(error, ERROR_USAGE,
					 "%s: has a result for %s, which is not among the cells now and would be lost: "
					 "add that cell, or name another --output",
					 path, sweep_label(&before->results[i].cell, label));
	return true;
}

static bool has_any_result(const struct sweep *sweep)
{
	for (uint32_t i = 0; i < sweep->count; i++)
		if (has_result(&sweep->results[i]))
			return true;
	return false;
}

bool sweep_resume_from(struct sweep *sweep, const struct sweep *before, const char *path, struct error *error)
{
	if (!has_any_result(before)) // nothing to be lost, or to be mixed up
		return true;
	if (!check_setting(sweep, before, path, error) || !check_cells(sweep, before, path, error))
		return false;
	for (uint32_t i = 0; i < before->count; i++) {
		struct sweep_result *result = sweep_find(sweep, before->results[i].cell);
		if (result != NULL && result->outcome == SWEEP_MISSING && has_result(&before->results[i]))
			*result = before->results[i];
	}
	return true;
}
