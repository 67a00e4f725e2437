// Names in certificates: see the end of tls.h.
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/rpc/tls.h"

bool rpc_name_check(const char *pattern, struct error *error)
{
	const char *rest = strncmp(pattern, "*.", 2) == 0 ? pattern + 2 : pattern;
	return (rest[0] != '\0' && strchr(rest, '*') == NULL) ||
	       error_set(error, ERROR_USAGE,
			 "\"%.80s\" is not a valid name: a star may only replace the first label, as in "
			 "\"*.example.org\"",
			 pattern);
}

// Of a host's name, or the star of a certificate that is for all hosts of a domain: "eve@mail" and "https://eve" are none, though
// an authority may sign such alternative names for whoever owns the mailbox or the page.
static bool is_label(const char *text, size_t length)
{
	if (length == 1 && text[0] == '*')
		return true;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
			return false;
	return length > 0;
}

bool rpc_name_matches(const char *pattern, const char *name, size_t length)
{
	if (memchr(name, '\0', length) != NULL)
		return false;
	if (strncmp(pattern, "*.", 2) == 0) {
		const char *dot = memchr(name, '.', length);
		if (dot == NULL || !is_label(name, (size_t)(dot - name)))
			return false;
		pattern += 1;
		length -= (size_t)(dot - name);
		name = dot;
	}
	return strlen(pattern) == length && strncasecmp(pattern, name, length) == 0;
}
