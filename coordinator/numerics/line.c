// A line of the file: a JSON object, {"machine": M, "question": Q, "choice": NAME, "candidates": {NAME: ns, ...}}; the time of a
// kernel that cannot be used is null.
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/numerics/internal.h"

static bool read_text(const json_t *object, const char *name, const char **ret_text, struct error *error)
{
	const json_t *value = json_object_get(object, name);
	*ret_text = json_string_value(value);
	if (*ret_text == NULL)
		return error_set(error, ERROR_USAGE, "\"%s\" is missing, or is not a string", name);
	return (numerics_is_text(*ret_text) && json_string_length(value) == strlen(*ret_text)) ||
	       error_set(error, ERROR_USAGE, "\"%s\" is not printable text of 1 to %d characters without a space", name,
			 NUMERICS_TEXT_SIZE - 1);
}

static bool read_candidate(const char *name, const json_t *time, struct numerics_answer *answer, struct error *error)
{
	if (answer->count == NUMERICS_MAXIMUM_CANDIDATES)
		return error_set(error, ERROR_USAGE, "there are more than %d candidates", NUMERICS_MAXIMUM_CANDIDATES);
	if (!numerics_is_text(name))
		return error_set(error, ERROR_USAGE,
				 "a candidate's name is not printable text of 1 to %d characters without a space",
				 NUMERICS_TEXT_SIZE - 1);
	if (!json_is_null(time) && (!json_is_integer(time) || json_integer_value(time) < 0))
		return error_set(error, ERROR_USAGE, "the time of candidate %s is neither nanoseconds nor null", name);
	answer->names[answer->count] = name;
	answer->ns[answer->count++] = json_is_null(time) ? NUMERICS_UNUSABLE : (uint64_t)json_integer_value(time);
	return true;
}

static bool read_candidates(json_t *object, struct numerics_answer *answer, struct error *error)
{
	json_t *candidates = json_object_get(object, "candidates"), *time;
	const char *name, *choice;
	if (!json_is_object(candidates))
		return error_set(error, ERROR_USAGE, "\"candidates\" is missing, or is not an object");
	json_object_foreach(candidates, name, time)
	{
		if (!read_candidate(name, time, answer, error))
			return false;
	}
	if (!read_text(object, "choice", &choice, error))
		return false;
	for (answer->choice = 0; answer->choice < answer->count; answer->choice++)
		if (strcmp(answer->names[answer->choice], choice) == 0)
			return true;
	return error_set(error, ERROR_USAGE, "the choice, %s, is not one of the candidates", choice);
}

static bool read_object(json_t *object, struct numerics_answer *answer, struct error *error)
{
	static const char *const members[] = {"machine", "question", "choice", "candidates"};
	const char *name;
	json_t *value;
	if (!json_is_object(object))
		return error_set(error, ERROR_USAGE, "it is not a JSON object");
	json_object_foreach(object, name, value)
	{
		size_t i = 0;
		while (i < 4 && strcmp(members[i], name) != 0)
			i++;
		if (i == 4)
			return error_set(error, ERROR_USAGE, "an answer has no \"%.40s\"", name);
	}
	return read_text(object, "machine", &answer->machine, error) &&
	       read_text(object, "question", &answer->question, error) && read_candidates(object, answer, error);
}

bool numerics_read_line(struct numerics *numerics, const char *line, size_t length, struct error *error)
{
	json_error_t why;
	struct numerics_answer answer = {0};
	if (length > NUMERICS_MAXIMUM_LINE_BYTES)
		return error_set(error, ERROR_USAGE, "it is longer than %d bytes", NUMERICS_MAXIMUM_LINE_BYTES);
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &why);
	if (object == NULL) {
		strings_make_printable(why.text);
		return error_set(error, ERROR_USAGE, "column %d: %s", why.column, why.text);
	}
	bool ok = read_object(object, &answer, error);
	if (!ok)
		strings_make_printable(error->message);
	if (ok && numerics_keep(numerics, &answer) == NULL)
		ok = error_set(error, ERROR_FAILED, "out of memory");
	json_decref(object);
	return ok;
}

char *numerics_write_line(const struct numerics_answer *answer)
{
	json_t *candidates = json_object();
	for (uint32_t i = 0; i < answer->count; i++)
		json_object_set_new(candidates, answer->names[i],
				    answer->ns[i] == NUMERICS_UNUSABLE ? json_null()
								       : json_integer((json_int_t)answer->ns[i]));
	json_t *object = json_pack("{s:s, s:s, s:s, s:o}", "machine", answer->machine, "question", answer->question,
				   "choice", answer->names[answer->choice], "candidates", candidates);
	char *text = object != NULL ? json_dumps(object, 0) : NULL;
	json_decref(object);
	return text;
}
