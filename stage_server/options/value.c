// One option's value: read from text, let go of, compared. See table.h.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include "common/base/strings.h"
#include "stage_server/options/table.h"

static bool parse_choice(const char *const *choices, const char *value, int *ret_index, struct error *error)
{
	char known[128] = "";
	for (int i = 0; choices[i] != NULL; i++) {
		if (strcmp(choices[i], value) == 0) {
			*ret_index = i;
			return true;
		}
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 i == 0                   ? ""
			 : choices[i + 1] == NULL ? " or "
						  : ", ",
			 choices[i]);
	}
	return error_set(error, ERROR_USAGE, "\"%.40s\" is not %s", value, known);
}

static bool parse_bytes(const struct option_row *row, const char *value, uint64_t *ret_bytes, struct error *error)
{
	char minimum[32], maximum[32];
	uint64_t bytes;
	if (!strings_parse_bytes(value, &bytes, error))
		return false;
	*ret_bytes = bytes;
	if (bytes >= row->minimum && bytes <= row->maximum)
		return true;
	return row->maximum == UINT64_MAX
		       ? error_set(error, ERROR_USAGE, "\"%.40s\" is less than %s; is the unit missing, as in 16GiB?",
				   value, strings_format_bytes(row->minimum, minimum, sizeof(minimum)))
		       : error_set(error, ERROR_USAGE, "\"%.40s\" is not from %s to %s", value,
				   strings_format_bytes(row->minimum, minimum, sizeof(minimum)),
				   strings_format_bytes(row->maximum, maximum, sizeof(maximum)));
}

static bool set_text(char **place, const char *value, struct error *error)
{
	if (value[0] == '\0')
		return error_set(error, ERROR_USAGE, "the value is empty");
	char *copy = strdup(value);
	if (copy == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	free(*place);
	*place = copy;
	return true;
}

static void clear_list(struct option_list *list)
{
	for (uint32_t i = 0; i < list->count; i++)
		free(list->values[i]);
	*list = (struct option_list){0};
}

static bool add_to_list(struct option_list *list, uint64_t maximum, const char *value, struct error *error)
{
	if (list->count == maximum)
		return error_set(error, ERROR_USAGE, "at most %" PRIu64 " of them", maximum);
	if (!set_text(&list->values[list->count], value, error))
		return false;
	list->count++;
	return true;
}

bool option_set(struct option_reader *reader, const struct option_row *row, const char *value,
		enum option_source source, struct error *error)
{
	static const char *const answers[] = {"no", "yes", NULL};
	void *place = (char *)&reader->options + row->place;
	enum option_source *before = &reader->sources[row - option_table];
	int64_t count = 0;
	int index = 0;
	bool ok = false;
	switch (row->kind) {
	case OPTION_TEXT:
		ok = set_text(place, value, error);
		break;
	case OPTION_LIST:
		if (*before != source)
			clear_list(place);
		ok = add_to_list(place, row->maximum, value, error);
		break;
	case OPTION_COUNT:
		ok = strings_parse_integer(value, (int64_t)row->minimum, (int64_t)row->maximum, &count, error);
		*(uint32_t *)place = (uint32_t)count;
		break;
	case OPTION_BYTES:
		ok = parse_bytes(row, value, place, error);
		break;
	case OPTION_CHOICE:
		ok = parse_choice(row->choices, value, &index, error);
		*(int *)place = index;
		break;
	case OPTION_SWITCH:
		ok = parse_choice(answers, value, &index, error);
		*(bool *)place = index == 1;
		break;
	}
	*before = source;
	return ok;
}

void option_free(struct daemon_options *options, const struct option_row *row)
{
	void *place = (char *)options + row->place;
	if (row->kind == OPTION_LIST)
		clear_list(place);
	else if (row->kind == OPTION_TEXT)
		free(*(char **)place);
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

bool option_is_same(const struct option_row *row, const struct daemon_options *before,
		    const struct daemon_options *after)
{
	const void *a = (const char *)before + row->place, *b = (const char *)after + row->place;
	switch (row->kind) {
	case OPTION_TEXT:
		return same_text(*(char *const *)a, *(char *const *)b);
	case OPTION_LIST:
		return same_list(a, b);
	case OPTION_COUNT:
		return *(const uint32_t *)a == *(const uint32_t *)b;
	case OPTION_BYTES:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	case OPTION_CHOICE:
		return *(const int *)a == *(const int *)b;
	case OPTION_SWITCH:
		return *(const bool *)a == *(const bool *)b;
	}
	return true;
}
