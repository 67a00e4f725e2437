// Texts as wide as a terminal shows them. One thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Text is UTF-8 from here on, whatever the locale says; numbers stay as C writes them.
void text_use_utf8(void);
uint32_t text_columns(const char *text); // that it takes
// Made printable, and cut to `columns` with an ellipsis at the end of what is cut. Returns `into`.
char *text_fit(const char *text, uint32_t columns, char *into, size_t size);
