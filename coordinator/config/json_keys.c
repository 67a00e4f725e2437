// Typed reading of a JSON object's members. See json_keys.h.
#include "coordinator/config/json_keys.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/config/deepspeed_defaults.h"

void json_keys_init(struct json_keys *keys, const struct hjson *document, const json_t *root, struct mistakes *mistakes)
{
	*keys = (struct json_keys){.document = document, .mistakes = mistakes, .object = root, .asked = json_object()};
	mistakes->no_memory |= keys->asked == NULL;
}

void json_keys_fini(struct json_keys *keys)
{
	json_decref(keys->asked);
	*keys = (struct json_keys){0};
}

void json_keys_ignore(struct json_keys *keys, const char *name)
{
	json_object_set_new(keys->asked, name, json_true());
}

void json_keys_ignore_where(struct json_keys *keys, const char *name, bool value)
{
	const json_t *member = json_object_get(keys->object, name);
	if (json_is_boolean(member) && json_is_true(member) == value)
		json_keys_ignore(keys, name);
}

// The member, noted as asked for; NULL where it is absent or null.
static const json_t *take(struct json_keys *keys, const char *name)
{
	json_keys_ignore(keys, name);
	const json_t *value = json_object_get(keys->object, name);
	return json_is_null(value) ? NULL : value;
}

bool json_keys_has(const struct json_keys *keys, const char *name)
{
	const json_t *value = json_object_get(keys->object, name);
	return value != NULL && !json_is_null(value);
}

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	default:
		return "null";
	}
}

static struct mistakes_place place_of(const struct json_keys *keys, const char *name)
{
	return keys->document != NULL ? hjson_place(keys->document, keys->object, name) : (struct mistakes_place){0};
}

bool json_keys_mistake(const struct json_keys *keys, const char *name, const char *format, ...)
{
	char text[MISTAKES_TEXT_SIZE];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	struct mistakes_place place = place_of(keys, name);
	if (json_object_get(keys->object, name) == NULL)
		mistakes_add(keys->mistakes, keys->section, "%s", text);
	else if (place.line == 0) // the file's value was replaced, or there is no file
		mistakes_add_option(keys->mistakes, "%s", text);
	else
		mistakes_add(keys->mistakes, place, "%s", text);
	return false;
}

static bool refuse(const struct json_keys *keys, const char *name, const json_t *value, const char *expected)
{
	if (json_is_string(value) && strcmp(json_string_value(value), "auto") == 0)
		return json_keys_mistake(keys, name,
					 "%s%s is \"auto\", which a trainer such as Hugging Face's replaces; penstock "
					 "does not: write %s",
					 keys->prefix, name, expected);
	char got[48];
	if (json_is_integer(value))
		snprintf(got, sizeof(got), "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(got, sizeof(got), "%.9g", json_real_value(value));
	else
		snprintf(got, sizeof(got), "%s", type_name(value));
	return json_keys_mistake(keys, name, "%s%s is %s; expected %s", keys->prefix, name, got, expected);
}

bool json_keys_open(struct json_keys *keys, struct json_keys *parent, const char *name)
{
	const json_t *object = take(parent, name);
	struct json_keys section = {.document = parent->document, .mistakes = parent->mistakes, .asked = json_object()};
	section.mistakes->no_memory |= section.asked == NULL;
	section.section = object != NULL ? place_of(parent, name) : parent->section;
	snprintf(section.prefix, sizeof(section.prefix), "%s%s.", parent->prefix, name);
	if (object != NULL && !json_is_object(object))
		refuse(parent, name, object, "an object in braces");
	section.object = json_is_object(object) ? object : NULL;
	*keys = section;
	return section.object != NULL;
}

static void describe_range(double minimum, double maximum, char *into, size_t size)
{
	if (maximum >= 1e30)
		snprintf(into, size, "a number of at least %.9g", minimum);
	else
		snprintf(into, size, "a number from %.9g to %.9g", minimum, maximum);
}

bool json_keys_number(struct json_keys *keys, const char *name, double minimum, double maximum, double *value)
{
	const json_t *member = take(keys, name);
	if (member == NULL)
		return true;
	double number = json_number_value(member);
	if (!json_is_number(member) || number < minimum || number > maximum) {
		char expected[96];
		describe_range(minimum, maximum, expected, sizeof(expected));
		return refuse(keys, name, member, expected);
	}
	*value = number;
	return true;
}

bool json_keys_count(struct json_keys *keys, const char *name, uint32_t minimum, uint32_t maximum, uint32_t *value)
{
	const json_t *member = take(keys, name);
	if (member == NULL)
		return true;
	// 1e3 is a whole number to its writer, and to DeepSpeed in most places.
	double number = json_number_value(member);
	if (!json_is_number(member) || number != floor(number) || number < minimum || number > maximum) {
		char expected[96];
		snprintf(expected, sizeof(expected), "a whole number from %u to %u", minimum, maximum);
		return refuse(keys, name, member, expected);
	}
	*value = (uint32_t)number;
	return true;
}

bool json_keys_boolean(struct json_keys *keys, const char *name, bool *value)
{
	const json_t *member = take(keys, name);
	if (member == NULL)
		return true;
	if (!json_is_boolean(member))
		return refuse(keys, name, member, "true or false");
	*value = json_is_true(member);
	return true;
}

bool json_keys_string(struct json_keys *keys, const char *name, char *value, size_t size)
{
	const json_t *member = take(keys, name);
	if (member == NULL)
		return true;
	if (!json_is_string(member))
		return refuse(keys, name, member, "a string");
	strings_printable(json_string_value(member), value, size);
	return true;
}

bool json_keys_pair(struct json_keys *keys, const char *name, double minimum, double maximum, double value[2])
{
	const json_t *member = take(keys, name);
	if (member == NULL)
		return true;
	bool ok = json_is_array(member) && json_array_size(member) == 2;
	double pair[2] = {0};
	for (size_t i = 0; ok && i < 2; i++) {
		const json_t *item = json_array_get(member, i);
		pair[i] = json_number_value(item);
		ok = json_is_number(item) && pair[i] >= minimum && pair[i] <= maximum;
	}
	if (!ok) {
		char expected[96];
		snprintf(expected, sizeof(expected), "a list of two numbers from %.9g to %.9g", minimum, maximum);
		return refuse(keys, name, member, expected);
	}
	value[0] = pair[0];
	value[1] = pair[1];
	return true;
}

// The closest of the keys that the section's reader asked for.
static const char *guess_key(const struct json_keys *keys, const char *name, char *into, size_t size)
{
	struct strings_guess guess = {.word = name};
	const char *known;
	json_t *value;
	json_object_foreach(keys->asked, known, value) if (json_object_get(keys->object, known) ==
							   NULL) // a key that is there, too, was not misspelled
		strings_guess_try(&guess, known);
	return strings_guess_write(&guess, "", into, size);
}

void json_keys_list_unknown(const struct json_keys *keys, char *list, size_t size)
{
	enum { MORE_SIZE = 32, SHOWN_SIZE = 64 };
	const char *name;
	json_t *value;
	unsigned more = 0;
	json_object_foreach((json_t *)keys->object, name, value)
	{
		const json_t *enabled = json_object_get(value, "enabled");
		char shown[SHOWN_SIZE], hint[STRINGS_GUESS_SIZE];
		char item[JSON_KEYS_PREFIX_SIZE + SHOWN_SIZE + STRINGS_GUESS_SIZE + 16];
		if (json_object_get(keys->asked, name) != NULL || deepspeed_default_is(keys->prefix, name, value))
			continue;
		strings_printable(name, shown, sizeof(shown));
		size_t length = strlen(list);
		snprintf(item, sizeof(item), "%s%s%s%s%s", length > 0 ? ", " : "", keys->prefix, shown,
			 json_is_true(enabled) ? ".enabled" : "", guess_key(keys, name, hint, sizeof(hint)));
		if (more > 0 || length + strlen(item) + MORE_SIZE > size)
			more++;
		else
			strcpy(list + length, item);
	}
	if (more > 0 && strlen(list) + MORE_SIZE <= size)
		snprintf(list + strlen(list), size - strlen(list), " and %u more", more);
}
