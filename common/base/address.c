// See address.h.
#include "common/base/address.h"

#include <arpa/inet.h>
#include <string.h>

enum { HOST_SIZE = 256 };

static bool refuse(const char *address, const char *why, struct error *error)
{
	return error_set(error, ERROR_USAGE, "\"%.80s\" is not HOST:PORT or [IPv6]:PORT: %s", address, why);
}

static bool is_port(const char *text)
{
	unsigned port = 0;
	size_t length = strspn(text, "0123456789");
	if (length < 1 || length > 5 || text[length] != '\0')
		return false;
	for (; *text != '\0'; text++)
		port = port * 10 + (unsigned)(*text - '0');
	return port <= 65535;
}

static bool check_bracketed(const char *address, struct error *error)
{
	char host[HOST_SIZE] = "";
	struct in6_addr v6;
	const char *end = strchr(address, ']');
	size_t length = end != NULL ? strcspn(address + 1, "]%") : 0; // without a zone: fe80::1%eth0
	if (end == NULL || end[1] != ':')
		return refuse(address, "behind ] a colon and the port are missing", error);
	if (length < sizeof(host))
		memcpy(host, address + 1, length);
	if (length >= sizeof(host) || inet_pton(AF_INET6, host, &v6) != 1)
		return refuse(address, "between [ and ] there is no IPv6 address", error);
	return is_port(end + 2) || refuse(address, "the port is not a whole number from 0 to 65535", error);
}

bool address_check(const char *address, bool host_may_lack, struct error *error)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	const char *colon = strchr(address, ':');
	size_t host = strcspn(address, ":");
	if (address[0] == '[')
		return check_bracketed(address, error);
	if (colon == NULL)
		return refuse(address, "the port is missing", error);
	if (strchr(colon + 1, ':') != NULL)
		return refuse(address, "there are several colons; an IPv6 address stands in brackets", error);
	if (strspn(address, letters) != host)
		return refuse(address, "the host has letters that no host's name has", error);
	if (host == 0 && !host_may_lack)
		return refuse(address, "the host is missing; 0.0.0.0 or [::] are all addresses of this machine", error);
	return is_port(colon + 1) || refuse(address, "the port is not a whole number from 0 to 65535", error);
}
