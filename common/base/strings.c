// Small helpers over C strings. See strings.h.
#include "common/base/strings.h"

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
