// Rows and their values: found, set from text, compared. See table.h.
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/options/table.h"

bool option_is_had(const struct option_table *table, const struct option_row *row)
{
	return row->only == 0 || (row->only & 1U << table->command) != 0;
}

// Of rows of one name the one that the command has, or the first.
const struct option_row *option_find(const struct option_table *table, const char *name)
{
	const struct option_row *found = NULL;
	for (uint32_t i = 0; i < table->count; i++) {
		const struct option_row *row = &table->rows[i];
		if (strcmp(row->name, name) == 0 && (found == NULL || option_is_had(table, row)))
			found = row;
	}
	return found;
}

char *option_variable(const struct option_row *row, char *into, size_t size)
{
	size_t used = (size_t)snprintf(into, size, "PENSTOCK_%s", row->name);
	for (size_t i = 0; i < used && i < size; i++)
		into[i] = (char)(into[i] == '-' ? '_' : toupper((unsigned char)into[i]));
	return into;
}

static bool parse_choice(const char *const *choices, const char *value, int *ret_index, struct error *error)
{
	char known[128] = "", hint[STRINGS_GUESS_SIZE];
	for (int i = 0; choices[i] != NULL; i++) {
		if (strcasecmp(choices[i], value) == 0) {
			*ret_index = i;
			return true;
		}
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 i == 0                   ? ""
			 : choices[i + 1] == NULL ? " or "
						  : ", ",
			 choices[i]);
	}
	return error_set(error, ERROR_USAGE, "\"%.40s\" is not %s%s", value, known,
			 strings_guess_of(value, choices, hint, sizeof(hint)));
}

static bool parse_bytes(const struct option_row *row, const char *value, uint64_t *ret_bytes, struct error *error)
{
	char minimum[32], maximum[32];
	uint64_t bytes;
	if (!strings_parse_bytes(value, &bytes, error))
		return false;
	if (bytes >= row->minimum && bytes <= row->maximum) {
		*ret_bytes = bytes;
		return true;
	}
	strings_format_bytes(row->minimum, minimum, sizeof(minimum));
	strings_format_bytes(row->maximum, maximum, sizeof(maximum));
	return row->maximum == UINT64_MAX
		       ? error_set(error, ERROR_USAGE, "\"%.40s\" is less than %s; is the unit missing, as in 16GiB?",
				   value, minimum)
		       : error_set(error, ERROR_USAGE, "\"%.40s\" is not from %s to %s", value, minimum, maximum);
}

static bool parse_number(const struct option_row *row, const char *value, double *ret_number, struct error *error)
{
	double number;
	if (!strings_parse_number(value, &number, NULL) || number < row->lowest || number > row->highest)
		return error_set(error, ERROR_USAGE, "\"%.40s\" is not a number from %g to %g", value, row->lowest,
				 row->highest);
	*ret_number = number;
	return true;
}

static bool set_text(const char **place, const char *value, struct error *error)
{
	*place = value;
	return value[0] != '\0' || error_set(error, ERROR_USAGE, "the value is empty");
}

static bool add_to_list(struct option_list *list, uint64_t maximum, const char *value, struct error *error)
{
	if (list->count == maximum)
		return error_set(error, ERROR_USAGE, "it may be given at most %" PRIu64 " times", maximum);
	return set_text(&list->values[list->count++], value, error);
}

static bool set_switch(bool *place, const char *value, struct error *error)
{
	static const char *const answers[] = {"no", "yes", NULL};
	int index = 1;
	if (value != NULL && !parse_choice(answers, value, &index, error))
		return false;
	*place = index == 1;
	return true;
}

bool option_set(const struct option_row *row, const char *value, void *into, struct error *error)
{
	void *place = (char *)into + row->place;
	int64_t count;
	int index;
	switch (row->kind) {
	case OPTION_SWITCH:
		return set_switch(place, value, error);
	case OPTION_TEXT:
		return set_text(place, value, error);
	case OPTION_LIST:
		return add_to_list(place, row->maximum, value, error);
	case OPTION_COUNT:
	case OPTION_LONG:
		if (!strings_parse_integer(value, (int64_t)row->minimum, (int64_t)row->maximum, &count, error))
			return false;
		if (row->kind == OPTION_COUNT)
			*(uint32_t *)place = (uint32_t)count;
		else
			*(uint64_t *)place = (uint64_t)count;
		return true;
	case OPTION_BYTES:
		return parse_bytes(row, value, place, error);
	case OPTION_NUMBER:
		return parse_number(row, value, place, error);
	case OPTION_CHOICE:
		return parse_choice(row->choices, value, place, error);
	case OPTION_NAME:
		return parse_choice(row->choices, value, &index, error) && set_text(place, row->choices[index], error);
	case OPTION_OWN:
		return row->take(into, value, error);
	}
	return false;
}

bool options_set_presets(const struct option_table *table, void *into, struct error *error)
{
	for (uint32_t i = 0; i < table->count; i++) {
		const struct option_row *row = &table->rows[i];
		if (row->preset != NULL && option_is_had(table, row) && !option_set(row, row->preset, into, error))
			return error_wrap(error, "--%s", row->name);
	}
	return true;
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_list(const struct option_list *a, const struct option_list *b)
{
	bool same = a->count == b->count;
	for (uint32_t i = 0; same && i < a->count; i++)
		same = same_text(a->values[i], b->values[i]);
	return same;
}

bool option_is_same(const struct option_row *row, const void *before, const void *after)
{
	const void *a = (const char *)before + row->place, *b = (const char *)after + row->place;
	switch (row->kind) {
	case OPTION_SWITCH:
		return *(const bool *)a == *(const bool *)b;
	case OPTION_TEXT:
	case OPTION_NAME:
		return same_text(*(const char *const *)a, *(const char *const *)b);
	case OPTION_LIST:
		return same_list(a, b);
	case OPTION_COUNT:
		return *(const uint32_t *)a == *(const uint32_t *)b;
	case OPTION_LONG:
	case OPTION_BYTES:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	case OPTION_NUMBER:
		return *(const double *)a == *(const double *)b;
	case OPTION_CHOICE:
		return *(const int *)a == *(const int *)b;
	case OPTION_OWN:
		break;
	}
	return true;
}
