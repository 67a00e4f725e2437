// Small helpers over C strings. See strings.h.
#include "common/base/strings.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *suffix;
	double factor;
} byte_units[] = {
	{"", 1},         {"B", 1},      {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
	{"TiB", 0x1p40}, {"K", 0x1p10}, {"M", 0x1p20},   {"G", 0x1p30},   {"T", 0x1p40},
	{"kB", 1e3},     {"KB", 1e3},   {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},
};

bool strings_parse_bytes(const char *text, uint64_t *ret_bytes, struct error *error)
{
	char *end = NULL;
	errno = 0;
	double value = strtod(text, &end);
	if (end != text && errno == 0 && isfinite(value) && value >= 0) {
		while (*end == ' ')
			end++;
		for (size_t i = 0; i < sizeof(byte_units) / sizeof(byte_units[0]); i++) {
			double bytes = value * byte_units[i].factor;
			if (strcmp(end, byte_units[i].suffix) == 0 && bytes < 0x1p63) {
				*ret_bytes = (uint64_t)bytes;
				return true;
			}
		}
	}
	return error_set(error, ERROR_USAGE,
			 "\"%.80s\" is not an amount of memory: write a number with KiB, MiB, GiB, TiB, MB or GB, "
			 "such as 16GiB",
			 text);
}

bool strings_parse_integer(const char *text, int64_t minimum, int64_t maximum, int64_t *ret_value, struct error *error)
{
	char *end = NULL;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || value < minimum || value > maximum)
		return error_set(error, ERROR_USAGE, "\"%.80s\" is not a whole number from %" PRId64 " to %" PRId64,
				 text, minimum, maximum);
	*ret_value = value;
	return true;
}

bool strings_parse_number(const char *text, double *ret_value, struct error *error)
{
	char *end = NULL;
	double value = strtod(text, &end); // one that is too large is infinite, one that is too small 0 or close to it
	if (end == text || *end != '\0' || !isfinite(value))
		return error_set(error, ERROR_USAGE, "\"%.80s\" is not a number", text);
	*ret_value = value;
	return true;
}

double strings_shortest_decimal(float value)
{
	char text[32];
	double decimal = (double)value;
	for (int digits = 1; digits <= 9; digits++) { // 9 give every float back
		snprintf(text, sizeof(text), "%.*g", digits, (double)value);
		decimal = strtod(text, NULL);
		if ((float)decimal == value)
			break;
	}
	return decimal;
}

double strings_unsigned_nan(double value)
{
	return isnan(value) ? fabs(value) : value;
}

size_t strings_utf8_length(const char *characters)
{
	const unsigned char *text = (const unsigned char *)characters;
	unsigned char lead = text[0], lowest = 0x80, highest = 0xbf;
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	if (lead == 0xe0) // overlong
		lowest = 0xa0;
	else if (lead == 0xed) // surrogates
		highest = 0x9f;
	else if (lead == 0xf0) // overlong
		lowest = 0x90;
	else if (lead == 0xf4) // above U+10FFFF
		highest = 0x8f;
	if (text[1] < lowest || text[1] > highest)
		return 0;
	for (size_t i = 2; i < length; i++)
		if (text[i] < 0x80 || text[i] > 0xbf)
			return 0;
	return length;
}

// 0 also for a control character, of which U+0080 to U+009F begin with 0xc2.
static size_t printable_length(const char *characters)
{
	const unsigned char *text = (const unsigned char *)characters;
	bool is_control = text[0] < ' ' || text[0] == 0x7f || (text[0] == 0xc2 && text[1] < 0xa0);
	return is_control ? 0 : strings_utf8_length(characters);
}

void strings_make_printable(char *text)
{
	for (size_t length; *text != '\0'; text += length) {
		length = printable_length(text);
		if (length == 0) {
			*text = '?';
			length = 1;
		}
	}
}

char *strings_printable(const char *text, char *into, size_t size)
{
	snprintf(into, size, "%s", text);
	strings_make_printable(into);
	return into;
}

// ---- The closest name

enum { GUESS_MAXIMUM = 48 }; // bytes of a word or name

static unsigned char folded(char byte)
{
	return byte == '_' ? '-' : (unsigned char)tolower((unsigned char)byte);
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

// Letters to insert, leave out, replace or swap with their neighbour, to make one of the other: optimal string alignment distance
// (L. Boytsov, "Indexing methods for approximate dictionary searching", 2011, section 2.1).
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t rows[3][GUESS_MAXIMUM + 1];
	size_t *before = rows[0], *last = rows[1], *row = rows[2];
	for (size_t k = 0; k <= b_length; k++)
		last[k] = k;
	for (size_t i = 1; i <= a_length; i++) {
		row[0] = i;
		for (size_t k = 1; k <= b_length; k++) {
			unsigned char one = folded(a[i - 1]), other = folded(b[k - 1]);
			row[k] = smaller(smaller(last[k], row[k - 1]) + 1, last[k - 1] + (one != other));
			if (i > 1 && k > 1 && one == folded(b[k - 2]) && other == folded(a[i - 2]))
				row[k] = smaller(row[k], before[k - 2] + 1);
		}
		size_t *oldest = before;
		before = last;
		last = row;
		row = oldest;
	}
	return last[b_length];
}

void strings_guess_try(struct strings_guess *guess, const char *name)
{
	size_t word_length = strlen(guess->word), name_length = strlen(name);
	if (word_length == 0 || word_length > GUESS_MAXIMUM || name_length > GUESS_MAXIMUM)
		return;
	size_t distance = edit_distance(guess->word, word_length, name, name_length);
	size_t shorter = smaller(word_length, name_length), close = shorter <= 3 ? 1 : 1 + shorter / 4;
	if (shorter <= 3 && folded(guess->word[0]) != folded(name[0])) // "gpu" is no misspelling of cpu
		return;
	bool begins = word_length > 3 && strncasecmp(guess->word, name, word_length) == 0; // as "train_batch" does
	if ((distance <= close || begins) && distance < name_length &&
	    (guess->name == NULL || distance < guess->distance)) {
		guess->name = name;
		guess->distance = distance;
	}
}

const char *strings_guess_write(const struct strings_guess *guess, const char *prefix, char *into, size_t size)
{
	into[0] = '\0';
	if (guess->name != NULL)
		snprintf(into, size, " (did you mean %s%s?)", prefix, guess->name);
	return into;
}

const char *strings_guess_of(const char *word, const char *const *names, char *into, size_t size)
{
	struct strings_guess guess = {.word = word};
	for (; *names != NULL; names++)
		strings_guess_try(&guess, *names);
	return strings_guess_write(&guess, "", into, size);
}

void strings_write_wrapped(const char *text, FILE *out)
{
	size_t used = 0;
	for (text += strspn(text, " "); *text != '\0'; text += strspn(text, " ")) {
		size_t length = strcspn(text, " ");
		if (used > 0 && used + 1 + length > STRINGS_COLUMNS) {
			fputc('\n', out);
			used = 0;
		}
		used += (size_t)fprintf(out, "%s%.*s", used > 0 ? " " : "", (int)length, text);
		text += length;
	}
	fputc('\n', out);
}

char *strings_format_bytes(uint64_t bytes, char *into, size_t size)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	int unit = 0;
	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	snprintf(into, size, unit == 0 ? "%.0f %s" : "%.1f %s", value, names[unit]);
	return into;
}
