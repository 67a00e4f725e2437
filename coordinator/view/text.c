// See text.h.
#include "coordinator/view/text.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "common/base/strings.h"

#define ELLIPSIS "\u2026"

void text_use_utf8(void)
{
	if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1)
		setlocale(LC_CTYPE, "C.UTF-8");
}

// Of the character that `text` begins with: its bytes, and the columns it takes. One that the C library does not know takes one.
static size_t next(const char *text, uint32_t *ret_columns)
{
	wchar_t character;
	mbstate_t state = {0};
	size_t bytes = mbrtowc(&character, text, strlen(text), &state);
	*ret_columns = 1;
	if (bytes == 0 || bytes > MB_CUR_MAX)
		return 1;
	int columns = wcwidth(character);
	if (columns >= 0)
		*ret_columns = (uint32_t)columns;
	return bytes;
}

uint32_t text_columns(const char *text)
{
	uint32_t sum = 0, columns;
	for (; *text != '\0'; sum += columns)
		text += next(text, &columns);
	return sum;
}

char *text_fit(const char *text, uint32_t columns, char *into, size_t size)
{
	strings_printable(text, into, size);
	if (text_columns(into) <= columns)
		return into;
	size_t end = 0;
	uint32_t used = 0;
	for (;;) {
		uint32_t width;
		size_t bytes = next(into + end, &width);
		if (used + width + 1 > columns)
			break;
		end += bytes;
		used += width;
	}
	snprintf(into + end, size - end, end + sizeof(ELLIPSIS) <= size ? ELLIPSIS : "");
	return into;
}
