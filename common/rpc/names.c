// Names in certificates: see the end of tls.h.
#include <string.h>
#include <strings.h>

#include "common/rpc/tls.h"

bool rpc_name_check(const char *pattern, struct error *error)
{
	const char *rest = strncmp(pattern, "*.", 2) == 0 ? pattern + 2 : pattern;
	return (rest[0] != '\0' && strchr(rest, '*') == NULL) ||
	       error_set(error, ERROR_USAGE,
			 "\"%.80s\": is no name; a star may only stand for the first label, as in \"*.example.org\"",
			 pattern);
}

bool rpc_name_matches(const char *pattern, const char *name, size_t length)
{
	if (memchr(name, '\0', length) != NULL)
		return false;
	if (strncmp(pattern, "*.", 2) == 0) {
		const char *dot = memchr(name, '.', length);
		if (dot == NULL || dot == name)
			return false;
		pattern += 1;
		length -= (size_t)(dot - name);
		name = dot;
	}
	return strlen(pattern) == length && strncasecmp(pattern, name, length) == 0;
}
