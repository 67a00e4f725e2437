// Small helpers over C strings. Any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/error.h"

enum {
	STRINGS_GUESS_SIZE = 80, // of what strings_guess_write writes
	STRINGS_COLUMNS = 80,    // of a line for people
};

// "16GiB", "512MiB", "1024", "1.5GB" to bytes; refuses anything else, naming what is accepted.
bool strings_parse_bytes(const char *text, uint64_t *ret_bytes, struct error *error);
// A whole decimal number within [minimum, maximum]; the message names both.
bool strings_parse_integer(const char *text, int64_t minimum, int64_t maximum, int64_t *ret_value, struct error *error);
bool strings_parse_number(const char *text, double *ret_value, struct error *error);
// The shortest decimal that reads as this float: 0.485, where the float itself is 0.48500000.
double strings_shortest_decimal(float value);
// The value itself; a NaN without its sign, so that it is printed as "nan" and never as "-nan".
double strings_unsigned_nan(double value);
// What the name of so many things ends with: "s", or "" of one.
static inline const char *strings_plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}
// 1536 -> "1.5 KiB"; returns `into`.
char *strings_format_bytes(uint64_t bytes, char *into, size_t size);

// Writes the words of `text` in lines of at most STRINGS_COLUMNS characters; a longer word has a line of its own. Ends with a newline.
void strings_write_wrapped(const char *text, FILE *out);

// The number of bytes of the first character, if it is well-formed UTF-8 (Unicode 15.0, table 3-7); otherwise 0. Reads no
// further than the first byte that does not belong to it.
size_t strings_utf8_length(const char *text);
// Text that a file or a peer wrote, as it may go to a terminal, a log or JSON: what is not well-formed UTF-8, and
// every control character (the C1 ones too, which terminals obey as well), becomes question marks. The length stays.
void strings_make_printable(char *text);
// The same of a copy that is cut to `size`; returns `into`.
char *strings_printable(const char *text, char *into, size_t size);

// "Did you mean": the name that is closest to a misspelled word. Begin with the word alone, try each name, then write.
struct strings_guess {
	const char *word;
	const char *name; // the closest so far; NULL: none is close
	size_t distance;
};
// Upper and lower case are equal here, and so are - and _. Of equally close names the first one tried counts.
void strings_guess_try(struct strings_guess *guess, const char *name);
// " (did you mean PREFIXname?)", or "" when no name is close; returns `into`.
const char *strings_guess_write(const struct strings_guess *guess, const char *prefix, char *into, size_t size);
// Both, over `names`, which end with NULL.
const char *strings_guess_of(const char *word, const char *const *names, char *into, size_t size);

// A local that frees itself: `_cleanup_free_ char *text = ...;`
static inline void strings_free_pointer(void *pointer)
{
	free(*(void **)pointer);
}
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the name that systemd gave it
#define _cleanup_free_ __attribute__((cleanup(strings_free_pointer)))
// Hands a self-freeing local's pointer to the caller.
#define steal_pointer(pointer)                                                                                         \
	({                                                                                                             \
		__typeof__(pointer) stolen_ = (pointer);                                                               \
		(pointer) = NULL;                                                                                      \
		stolen_;                                                                                               \
	})
