// See mistakes.h.
#include "coordinator/config/mistakes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"

void mistakes_fini(struct mistakes *mistakes)
{
	free(mistakes->items);
	*mistakes = (struct mistakes){0};
}

static void add(struct mistakes *mistakes, struct mistake mistake, const char *format, va_list arguments)
{
	size_t index = mistakes->count;
	if (mistakes->items == NULL)
		mistakes->items = calloc(MISTAKES_MAXIMUM, sizeof(*mistakes->items));
	if (mistakes->items == NULL) {
		mistakes->no_memory = true;
		return;
	}
	mistakes->count++;
	if (index >= MISTAKES_MAXIMUM)
		return;
	vsnprintf(mistake.text, sizeof(mistake.text), format, arguments);
	strings_make_printable(mistake.text);
	mistakes->items[index] = mistake;
}

void mistakes_add(struct mistakes *mistakes, struct mistakes_place place, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	add(mistakes, (struct mistake){.place = place}, format, arguments);
	va_end(arguments);
}

void mistakes_add_option(struct mistakes *mistakes, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	add(mistakes, (struct mistake){.is_option = true}, format, arguments);
	va_end(arguments);
}

static bool is_before(const struct mistake *a, const struct mistake *b)
{
	return a->place.line < b->place.line || (a->place.line == b->place.line && a->place.column < b->place.column);
}

// Insertion sort: stable, and the list is short. Mistakes without a place come first.
static void sort(struct mistake *items, size_t count)
{
	for (size_t i = 1; i < count; i++)
		for (size_t k = i; k > 0 && is_before(&items[k], &items[k - 1]); k--) {
			struct mistake swapped = items[k];
			items[k] = items[k - 1];
			items[k - 1] = swapped;
		}
}

// "line 3, column 4: TEXT"
static void describe(const struct mistake *mistake, char *into, size_t size)
{
	if (mistake->place.line > 0)
		snprintf(into, size, "line %u, column %u: %s", mistake->place.line, mistake->place.column,
			 mistake->text);
	else
		snprintf(into, size, "%s%s", mistake->is_option ? "command line: " : "", mistake->text);
}

bool mistakes_report(const struct mistakes *mistakes, const char *path, struct error *error)
{
	enum { MORE_SIZE = 24 };
	char text[ERROR_MESSAGE_SIZE - 1], item[MISTAKES_TEXT_SIZE + 64];
	if (mistakes->no_memory)
		return error_set(error, ERROR_FAILED, "%s: out of memory", path);
	if (mistakes->count == 0)
		return true;
	size_t kept = mistakes->count < MISTAKES_MAXIMUM ? mistakes->count : MISTAKES_MAXIMUM, shown = 0;
	sort(mistakes->items, kept);
	if (mistakes->count == 1) {
		describe(&mistakes->items[0], item, sizeof(item));
		return mistakes->items[0].is_option ? error_set(error, ERROR_USAGE, "%s", item)
						    : error_set(error, ERROR_USAGE, "%s: %s", path, item);
	}
	snprintf(text, sizeof(text), "%.512s: %zu mistakes", path, mistakes->count);
	for (; shown < kept; shown++) {
		size_t length = strlen(text);
		describe(&mistakes->items[shown], item, sizeof(item));
		if (length + strlen(item) + MORE_SIZE >= sizeof(text))
			break;
		snprintf(text + length, sizeof(text) - length, "\n  %s", item);
	}
	size_t length = strlen(text);
	if (shown < mistakes->count)
		snprintf(text + length, sizeof(text) - length, "\n  and %zu more", mistakes->count - shown);
	return error_set(error, ERROR_USAGE, "%s", text);
}
