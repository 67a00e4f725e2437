// See address.h.
#include "common/rpc/address.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "common/base/address.h"

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
	    '/') // gRPC would make an abstract socket, which has no file whose permissions say who may come
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
