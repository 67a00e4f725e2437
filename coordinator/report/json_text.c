// See json_text.h.
#include "coordinator/report/json_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// The closing quote of the string that begins at `text`.
static const char *string_end(const char *text)
{
	for (text++; *text != '"'; text++)
		if (*text == '\\')
			text++;
	return text;
}

// Copies the number text[0] to text[length - 1], with fewer digits if they read as the same double. Returns the size, at most `length`.
static size_t write_number(const char *text, size_t length, char *into)
{
	char shorter[40];
	double value = strtod(text, NULL);
	bool is_whole = memchr(text, '.', length) == NULL && memchr(text, 'e', length) == NULL;
	for (int digits = 15; !is_whole && digits < 17; digits++) {
		int size = snprintf(shorter, sizeof(shorter), "%.*g", digits, value);
		bool is_real = strpbrk(shorter, ".e") != NULL; // 1.0 must not become a whole number
		if (is_real && (size_t)size < length && strtod(shorter, NULL) == value) {
			memcpy(into, shorter, (size_t)size);
			return (size_t)size;
		}
	}
	memmove(into, text, length);
	return length;
}

char *json_text(const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(17)); // 17 digits give every double back
	char *into = text;
	for (const char *from = text; text != NULL && *from != '\0';) {
		size_t length = strspn(from, "+-.0123456789eE");
		if (*from == '"') {
			length = (size_t)(string_end(from) - from) + 1;
			memmove(into, from, length);
			into += length;
		} else if (length > 0 && *from != 'e') { // "true" and "false" have an e
			into += write_number(from, length, into);
		} else {
			length = 1;
			*into++ = *from;
		}
		from += length;
	}
	if (text != NULL)
		*into = '\0';
	return text;
}

bool json_text_write(FILE *file, json_t *object, struct error *error)
{
	char *text = object != NULL ? json_text(object) : NULL;
	errno = ENOMEM;
	bool written = text != NULL && fprintf(file, "%s\n", text) >= 0 && fflush(file) == 0;
	int why = errno;
	free(text);
	json_decref(object);
	return written || error_set(error, ERROR_FAILED, "--json: %s", strerror(why));
}
