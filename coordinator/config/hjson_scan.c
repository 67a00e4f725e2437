// See hjson_scan.h.
#include "coordinator/config/hjson_scan.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"

void hjson_scanner_init(struct hjson_scanner *scanner, const char *text, struct mistakes *mistakes)
{
	*scanner = (struct hjson_scanner){.text = text, .mistakes = mistakes, .failed = SIZE_MAX, .place = {1, 1}};
}

struct mistakes_place hjson_scanner_place(struct hjson_scanner *scanner, size_t offset)
{
	if (offset < scanner->placed) {
		scanner->placed = 0;
		scanner->place = (struct mistakes_place){1, 1};
	}
	for (; scanner->placed < offset; scanner->placed++) {
		char next = scanner->text[scanner->placed + 1];
		if (scanner->text[scanner->placed] == '\n')
			scanner->place = (struct mistakes_place){scanner->place.line + 1, 1};
		else
			scanner->place.column += (next & 0xc0) != 0x80; // a column is a character
	}
	return scanner->place;
}

bool hjson_scanner_fail(struct hjson_scanner *scanner, size_t offset, const char *format, ...)
{
	char text[MISTAKES_TEXT_SIZE];
	va_list arguments;
	scanner->is_broken = true;
	if (offset == scanner->failed)
		return false;
	scanner->failed = offset;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	struct mistakes_place place = {0};
	if (scanner->mistakes->count < MISTAKES_MAXIMUM)
		place = hjson_scanner_place(scanner, offset);
	mistakes_add(scanner->mistakes, place, "%s", text);
	return false;
}

static void *no_memory(struct hjson_scanner *scanner)
{
	scanner->mistakes->no_memory = true;
	scanner->is_stopped = true;
	return NULL;
}

char hjson_scan_next(struct hjson_scanner *scanner)
{
	for (;;) {
		const char *at = scanner->text + scanner->at;
		at += strspn(at, " \t\n");
		size_t begin = (size_t)(at - scanner->text);
		scanner->at = begin;
		if (at[0] == '#' || (at[0] == '/' && at[1] == '/')) {
			scanner->at += strcspn(at, "\n");
		} else if (at[0] == '/' && at[1] == '*') {
			const char *end = strstr(at + 2, "*/");
			scanner->at = end != NULL ? (size_t)(end - scanner->text) + 2 : begin + strlen(at);
			if (end == NULL) {
				scanner->is_stopped = true;
				hjson_scanner_fail(scanner, begin, "the comment that begins here has no end: */");
			}
		} else {
			return at[0];
		}
	}
}

// ---- Strings in quotes

static bool read_hex(const char *text, unsigned *ret_value)
{
	unsigned value = 0;
	for (int i = 0; i < 4; i++) {
		if (!isxdigit((unsigned char)text[i])) // also at the end
			return false;
		char digit[] = {text[i], '\0'};
		value = value * 16 + (unsigned)strtoul(digit, NULL, 16);
	}
	*ret_value = value;
	return true;
}

static size_t write_utf8(unsigned character, char *into)
{
	if (character < 0x80) {
		into[0] = (char)character;
		return 1;
	}
	size_t length = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
	static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = length - 1; i > 0; i--, character >>= 6)
		into[i] = (char)(0x80 | (character & 0x3f));
	into[0] = (char)(leads[length] | character);
	return length;
}

// "\uXXXX", or two of them that make a character. Returns the bytes that were read.
static size_t unescape_unicode(struct hjson_scanner *scanner, size_t offset, char *into, size_t *written)
{
	const char *text = scanner->text + offset;
	unsigned high, low;
	if (!read_hex(text + 2, &high)) {
		hjson_scanner_fail(scanner, offset, "\\u needs four hexadecimal digits");
		return 2;
	}
	if (high >= 0xd800 && high < 0xdc00 && text[6] == '\\' && text[7] == 'u' && read_hex(text + 8, &low) &&
	    low >= 0xdc00 && low < 0xe000) {
		*written += write_utf8(0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00)), into + *written);
		return 12;
	}
	if (high == 0 || (high >= 0xd800 && high < 0xe000))
		hjson_scanner_fail(scanner, offset, "\\u%.4s is not a character", text + 2);
	else
		*written += write_utf8(high, into + *written);
	return 6;
}

// An escape that begins at `offset`. Returns the bytes that were read.
static size_t unescape(struct hjson_scanner *scanner, size_t offset, char *into, size_t *written)
{
	static const char letters[] = "\"'\\/bfnrt", characters[] = "\"'\\/\b\f\n\r\t";
	char letter = scanner->text[offset + 1];
	if (letter == 'u')
		return unescape_unicode(scanner, offset, into, written);
	const char *known = letter != '\0' ? strchr(letters, letter) : NULL;
	if (known == NULL) {
		hjson_scanner_fail(scanner, offset, "unknown escape \\%.1s", scanner->text + offset + 1);
		return 1;
	}
	into[(*written)++] = characters[known - letters];
	return 2;
}

// Where the string that begins at `begin`, a quote, ends: its closing quote; or the end of the line.
static size_t find_quote(const char *text, size_t begin)
{
	size_t end = begin + 1;
	while (text[end] != text[begin] && text[end] != '\n' && text[end] != '\0')
		end += text[end] == '\\' && text[end + 1] != '\n' && text[end + 1] != '\0' ? 2 : 1;
	return end;
}

// `*ret_closed`: false after a string without its closing quote. Returns owned.
static char *scan_quoted(struct hjson_scanner *scanner, bool *ret_closed)
{
	const char *text = scanner->text;
	size_t begin = scanner->at, end = find_quote(text, begin), written = 0;
	char *into = malloc(end - begin + 1); // no escape is shorter than its character
	if (into == NULL)
		return no_memory(scanner);
	for (size_t at = begin + 1; at < end;) {
		if (text[at] == '\\') {
			at += unescape(scanner, at, into, &written);
			continue;
		}
		if ((unsigned char)text[at] < ' ')
			hjson_scanner_fail(scanner, at, "a control character in a string: write it as \\u%04x",
					   (unsigned)text[at]);
		into[written++] = text[at++];
	}
	into[written] = '\0';
	*ret_closed = text[end] == text[begin];
	scanner->at = *ret_closed ? end + 1 : end;
	if (!*ret_closed)
		hjson_scanner_fail(scanner, begin, "the string that begins here has no closing quote in its line");
	return into;
}

// ---- Strings of several lines, in '''

static size_t skip_indent(const char *text, size_t at, size_t most)
{
	for (; most > 0 && (text[at] == ' ' || text[at] == '\t'); most--)
		at++;
	return at;
}

// As each line is indented at most as far as the opening quotes are, that much is left out.
static json_t *scan_multiline(struct hjson_scanner *scanner)
{
	const char *text = scanner->text;
	size_t begin = scanner->at, indent = hjson_scanner_place(scanner, begin).column - 1, written = 0;
	size_t at = skip_indent(text, begin + 3, SIZE_MAX);
	const char *end = strstr(text + at, "'''");
	if (end == NULL) {
		scanner->is_stopped = true;
		hjson_scanner_fail(scanner, begin, "the string that begins here has no end: '''");
		return NULL;
	}
	char *into = malloc((size_t)(end - text) - at + 1);
	if (into == NULL)
		return no_memory(scanner);
	if (text[at] == '\n')
		at = skip_indent(text, at + 1, indent);
	while (text + at < end) {
		char byte = text[at++];
		into[written++] = byte;
		if (byte == '\n')
			at = skip_indent(text, at, indent);
	}
	if (written > 0 && into[written - 1] == '\n')
		written--;
	scanner->at = (size_t)(end - text) + 3;
	json_t *value = json_stringn(into, written);
	free(into);
	return value != NULL ? value : no_memory(scanner);
}

// ---- Without quotes

// The bytes of a blank as Python's str.strip knows it; 0: none.
static size_t blank_length(const char *text)
{
	static const char *const wide[] = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\xa8",
					   "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
	if (isspace((unsigned char)text[0]) || (text[0] >= 0x1c && text[0] <= 0x1f))
		return 1;
	for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++)
		if (strncmp(text, wide[i], strlen(wide[i])) == 0)
			return strlen(wide[i]);
	if (strncmp(text, "\xe2\x80", 2) == 0 && (unsigned char)text[2] >= 0x80 && (unsigned char)text[2] <= 0x8a)
		return 3;
	return 0;
}

// Moves the ends of text[*begin] to text[*end - 1] over blanks.
static void strip(const char *text, size_t *begin, size_t *end)
{
	while (*begin < *end && blank_length(text + *begin) > 0)
		*begin += blank_length(text + *begin);
	size_t last = *begin;
	for (size_t at = *begin; at < *end;) {
		size_t blank = blank_length(text + at);
		at += blank > 0 ? blank : 1;
		if (blank == 0)
			last = at;
	}
	*end = last;
}

// The bytes of a number as JSON has it, with `*ret_is_whole` where it has neither fraction nor exponent; 0: none.
static size_t number_length(const char *text, bool *ret_is_whole)
{
	size_t at = text[0] == '-';
	*ret_is_whole = true;
	if (!isdigit((unsigned char)text[at]))
		return 0;
	at += text[at] == '0' ? 1 : strspn(text + at, "0123456789");
	if (text[at] == '.' && isdigit((unsigned char)text[at + 1])) {
		*ret_is_whole = false;
		at += 1 + strspn(text + at + 1, "0123456789");
	}
	if (text[at] == 'e' || text[at] == 'E') {
		size_t sign = text[at + 1] == '-' || text[at + 1] == '+';
		size_t digits = strspn(text + at + 1 + sign, "0123456789");
		if (digits > 0) {
			*ret_is_whole = false;
			at += 1 + sign + digits;
		}
	}
	return at;
}

// 1e3 and 1.0 are whole numbers, as with Python's hjson.
static json_t *make_number(struct hjson_scanner *scanner, size_t begin, bool is_whole)
{
	const char *text = scanner->text + begin;
	double value = strtod(text, NULL);
	json_t *made = NULL;
	if (!isfinite(value)) {
		hjson_scanner_fail(scanner, begin, "the number is too large");
		made = json_null();
	} else if (is_whole && fabs(value) < 0x1p63) {
		made = json_integer(strtoll(text, NULL, 10));
	} else if (!is_whole && fabs(value) < 1e10 && value == floor(value)) {
		made = json_integer((json_int_t)value);
	} else {
		made = json_real(value);
	}
	return made != NULL ? made : no_memory(scanner);
}

static bool is_word(const char *text, size_t begin, size_t end, const char *word)
{
	strip(text, &begin, &end);
	return end - begin == strlen(word) && memcmp(text + begin, word, end - begin) == 0;
}

// What text[begin] to text[end - 1] is but for a string; NULL, without a mistake: nothing else.
static json_t *scan_literal(struct hjson_scanner *scanner, size_t begin, size_t end)
{
	const char *text = scanner->text;
	bool is_whole;
	if (text[begin] == 'n' && is_word(text, begin, end, "null"))
		return json_null();
	if (text[begin] == 't' && is_word(text, begin, end, "true"))
		return json_true();
	if (text[begin] == 'f' && is_word(text, begin, end, "false"))
		return json_false();
	size_t length = number_length(text + begin, &is_whole);
	if (length > 0 && begin + length + strspn(text + begin + length, " \t") == end)
		return make_number(scanner, begin, is_whole);
	return NULL;
}

// true, false, null or a number, as far as a comma, a bracket or a comment; otherwise a string as far as the end of the line.
static json_t *scan_plain(struct hjson_scanner *scanner)
{
	const char *text = scanner->text;
	size_t begin = scanner->at, end = begin;
	do
		end += strcspn(text + end, "\n,}]#/");
	while (text[end] == '/' && text[end + 1] != '/' && text[end + 1] != '*' && text[++end] != '\0');
	json_t *literal = scan_literal(scanner, begin, end);
	if (literal == NULL && !scanner->is_stopped)
		end += strcspn(text + end, "\n");
	scanner->at = end;
	if (literal != NULL || scanner->is_stopped)
		return literal;
	strip(text, &begin, &end);
	json_t *value = json_stringn(text + begin, end - begin);
	return value != NULL ? value : no_memory(scanner);
}

// ---- Keys and values

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n';
}

static char *scan_plain_key(struct hjson_scanner *scanner)
{
	const char *text = scanner->text;
	size_t begin = scanner->at, end = begin + strcspn(text + begin, ":{}[],");
	scanner->at = end;
	if (text[end] == '\0') {
		scanner->is_stopped = true;
		hjson_scanner_fail(scanner, begin, "expected a key and a colon (:)");
		return NULL;
	}
	size_t last = end;
	while (last > begin && is_blank(text[last - 1]))
		last--;
	if (begin == end)
		hjson_scanner_fail(scanner, end, "found %.1s where a key and a colon (:) were expected", text + end);
	else if (text[end] != ':')
		hjson_scanner_fail(scanner, end, "expected a colon (:) after the key \"%.*s\"",
				   (int)(last - begin < 40 ? last - begin : 40), text + begin);
	if (begin == end || text[end] != ':')
		return NULL;
	for (size_t at = begin; at < last; at++)
		if (is_blank(text[at])) {
			hjson_scanner_fail(scanner, at,
					   "a blank in a key without quotes: is a comma or a colon missing before it? "
					   "If it belongs "
					   "to the key, write quotes around the key");
			break;
		}
	size_t first = begin;
	if (last < end) // Python's hjson strips such a key alone
		strip(text, &first, &last);
	char *key = strndup(text + begin, last - begin);
	return key != NULL ? key : no_memory(scanner);
}

char *hjson_scan_key(struct hjson_scanner *scanner)
{
	char first = hjson_scan_next(scanner);
	bool is_closed = true;
	char *key = first == '"' || first == '\'' ? scan_quoted(scanner, &is_closed) : scan_plain_key(scanner);
	if (key == NULL)
		return NULL;
	if (is_closed && hjson_scan_next(scanner) == ':') {
		scanner->at++;
		return key;
	}
	if (is_closed)
		hjson_scanner_fail(scanner, scanner->at, "expected a colon (:) after the key \"%.80s\"", key);
	free(key);
	return NULL;
}

static json_t *scan_string(struct hjson_scanner *scanner)
{
	bool is_closed;
	char *text = scan_quoted(scanner, &is_closed);
	if (text == NULL)
		return NULL;
	json_t *value = json_string(text);
	free(text);
	return value != NULL ? value : no_memory(scanner);
}

json_t *hjson_scan_scalar(struct hjson_scanner *scanner)
{
	const char *text = scanner->text + scanner->at;
	if (strncmp(text, "'''", 3) == 0)
		return scan_multiline(scanner);
	if (text[0] == '"' || text[0] == '\'')
		return scan_string(scanner);
	if (text[0] != '\0' && strchr("}],:", text[0]) == NULL)
		return scan_plain(scanner);
	hjson_scanner_fail(scanner, scanner->at, "a value is missing here");
	return text[0] == ',' || text[0] == '}' ? json_null() : NULL;
}
