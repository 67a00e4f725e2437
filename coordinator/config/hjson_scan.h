// The words of Hjson: blanks and comments, keys, strings, and what has no quotes. Private to hjson.c.
//
// The rules are those of Python's package hjson 3.1.0 (hjson/decoder.py), in the same order, because a text without quotes means
// what the first rule that matches makes of it.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "coordinator/config/mistakes.h"

struct hjson_scanner {
	const char *text; // UTF-8 without NUL, ends with NUL; lines end with \n
	size_t at;
	struct mistakes *mistakes;
	bool is_broken;  // a mistake of syntax was found
	bool is_stopped; // what follows it cannot be told apart
	size_t failed;   // where the last one was: one place has one mistake
	// The place of a byte is counted from the last one that was asked for, if that is before it.
	size_t placed;
	struct mistakes_place place;
};

void hjson_scanner_init(struct hjson_scanner *scanner, const char *text, struct mistakes *mistakes);
struct mistakes_place hjson_scanner_place(struct hjson_scanner *scanner, size_t offset);
// Adds a mistake of syntax. Always false.
bool hjson_scanner_fail(struct hjson_scanner *scanner, size_t offset, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

// Skips blanks and comments. Returns the byte that follows; '\0' at the end.
char hjson_scan_next(struct hjson_scanner *scanner);
// A key, up to its colon. Returns owned; NULL after a mistake, or when memory is out.
char *hjson_scan_key(struct hjson_scanner *scanner);
// A value that is neither an object nor a list. Returns owned; NULL likewise.
json_t *hjson_scan_scalar(struct hjson_scanner *scanner);
