// Names of hosts and callers: see the end of tls.h.
#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "common/base/address.h"
#include "common/rpc/tls.h"

bool rpc_name_check(const char *pattern, struct error *error)
{
	const char *rest = strncmp(pattern, "*.", 2) == 0 ? pattern + 2 : pattern;
	return (rest[0] != '\0' && strchr(rest, '*') == NULL) ||
	       error_set(error, ERROR_USAGE,
			 "\"%.80s\": is no name; a star may only stand for the first label, as in \"*.example.org\"",
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

bool rpc_address_is_unix(const char *address)
{
	return strncmp(address, "unix:", 5) == 0 || strncmp(address, "unix-abstract:", 14) == 0;
}

bool rpc_address_check(const char *address, struct error *error)
{
	struct sockaddr_un place;
	if (strncmp(address, "unix:", 5) != 0)
		return address_check(address, false, error);
	if (address[5] !=
	    '/') // of none gRPC makes an abstract socket, which has no file whose permissions say who may come
		return error_set(error, ERROR_USAGE, "\"%.80s\" is not unix:/PATH: the path is not a whole one",
				 address);
	return strlen(address + 5) < sizeof(place.sun_path) ||
	       error_set(error, ERROR_USAGE, "\"%.80s...\": a socket's path has at most %zu letters", address,
			 sizeof(place.sun_path) - 1);
}

bool rpc_address_is_local(const char *address)
{
	char host[64] = "";
	struct in_addr v4;
	struct in6_addr v6;
	if (rpc_address_is_unix(address))
		return true;
	const char *colon = strrchr(address, ':');
	const char *begin = address[0] == '[' ? address + 1 : address;
	const char *end = address[0] == '[' ? strchr(address, ']') : colon;
	if (end == NULL || (size_t)(end - begin) >= sizeof(host))
		return false;
	memcpy(host, begin, (size_t)(end - begin));
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
	return strcasecmp(host, "localhost") == 0;
}
