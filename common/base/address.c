// See address.h.
#include "common/base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

static const char socket_prefix[] = "unix:";

static bool refuse(const char *text, enum address_form form, const char *why, struct error *error)
{
	static const char *const forms[] = {[ADDRESS_WHOLE] = "HOST:PORT or [IPv6]:PORT",
					    [ADDRESS_TCP] = "HOST:PORT or [IPv6]:PORT",
					    [ADDRESS_NODE] = "HOST, HOST:PORT, [IPv6]:PORT or unix:/PATH"};
	return error_set(error, ERROR_USAGE, "\"%.80s\" is not %s: %s", text, forms[form], why);
}

// Names that gRPC reads, with the colon before the port, as a kind of address: "unix:7070" is a socket in the folder.
static bool is_scheme(const char *host)
{
	static const char *const schemes[] = {"dns",           "ipv4",  "ipv6", "unix",
					      "unix-abstract", "vsock", "xds",  "google-c2p"};
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strcasecmp(schemes[i], host) == 0)
			return true;
	return false;
}

static bool only_letters(const char *text, size_t length)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	return strspn(text, letters) >= length;
}

static bool parse_socket(const char *text, struct address *address, struct error *error)
{
	struct sockaddr_un place;
	const char *path = text + strlen(socket_prefix);
	if (path[0] != '/') // gRPC would make an abstract socket, which has no file whose permissions say who may come
		return error_set(error, ERROR_USAGE,
				 "\"%.80s\" is not unix:/PATH: the path must be absolute, as in "
				 "unix:/run/penstockd.sock",
				 text);
	if (strlen(path) >= sizeof(place.sun_path))
		return error_set(error, ERROR_USAGE, "\"%.80s...\": the path of a Unix socket has at most %zu bytes",
				 text, sizeof(place.sun_path) - 1);
	*address = (struct address){.kind = ADDRESS_SOCKET, .port = ADDRESS_NO_PORT};
	snprintf(address->host, sizeof(address->host), "%s", path);
	return true;
}

// Where the host ends and what must follow begins: a colon and the port, or nothing. NULL: refused.
static const char *find_host(const char *text, enum address_form form, const char **ret_begin, struct error *error)
{
	const char *end = text + strcspn(text, ":");
	*ret_begin = text;
	if (text[0] == '[') {
		*ret_begin = text + 1;
		end = strchr(text, ']');
		if (end == NULL || (end[1] != ':' && (end[1] != '\0' || form != ADDRESS_NODE))) {
			refuse(text, form, "a colon and a port must follow ]", error);
			return NULL;
		}
	} else if (*end == ':' && strchr(end + 1, ':') != NULL) {
		refuse(text, form, "it has several colons: write an IPv6 address in brackets", error);
		return NULL;
	}
	if ((size_t)(end - *ret_begin) >= ADDRESS_HOST_SIZE) {
		refuse(text, form, "the host name is too long", error);
		return NULL;
	}
	return end;
}

static bool check_ipv6(const char *text, enum address_form form, const char *host, struct error *error)
{
	char plain[ADDRESS_HOST_SIZE];
	struct in6_addr v6;
	size_t length = strcspn(host, "%"); // a zone's name follows: fe80::1%eth0
	snprintf(plain, sizeof(plain), "%.*s", (int)length, host);
	bool has_zone = host[length] == '%';
	const char *zone = host + length + has_zone;
	if (inet_pton(AF_INET6, plain, &v6) != 1 || (has_zone && zone[0] == '\0') || !only_letters(zone, strlen(zone)))
		return refuse(text, form, "the text in brackets is not an IPv6 address", error);
	return true;
}

static bool check_host(const char *text, enum address_form form, const char *host, struct error *error)
{
	if (!only_letters(host, strlen(host)))
		return refuse(text, form, "the host name has a character that is not allowed", error);
	if (host[0] == '-') // an option that came to be taken for a host
		return refuse(text, form, "a host name cannot begin with -", error);
	if (host[0] == '\0' && form == ADDRESS_WHOLE)
		return refuse(text, form,
			      "the host is missing: write 0.0.0.0 or [::] for all addresses of this machine", error);
	if (host[0] == '\0' && form == ADDRESS_NODE)
		return refuse(text, form, "the host is missing", error);
	return !is_scheme(host) ||
	       refuse(text, form,
		      "this name is also a kind of address: write the host's full name with its domain, or its address",
		      error);
}

// `colon` is where the host has ended.
static bool parse_port(const char *text, enum address_form form, const char *colon, int *ret_port, struct error *error)
{
	int port = 0, minimum = form == ADDRESS_NODE ? 1 : 0;
	if (*colon == '\0') {
		*ret_port = ADDRESS_NO_PORT;
		return form == ADDRESS_NODE || refuse(text, form, "the port is missing", error);
	}
	const char *digits = colon + 1;
	size_t length = strspn(digits, "0123456789");
	for (size_t i = 0; i < length && i < sizeof("65535"); i++)
		port = port * 10 + (digits[i] - '0');
	*ret_port = port;
	if (length >= 1 && length < sizeof("65535") && digits[length] == '\0' && port >= minimum && port <= 65535)
		return true;
	return refuse(text, form,
		      minimum == 0 ? "the port is not a whole number from 0 to 65535"
				   : "the port is not a whole number from 1 to 65535",
		      error);
}

bool address_parse(const char *text, enum address_form form, struct address *ret_address, struct error *error)
{
	struct address address = {.kind = text[0] == '[' ? ADDRESS_IPV6 : ADDRESS_HOST};
	bool ok;
	if (form != ADDRESS_TCP && address_is_socket(text)) {
		ok = parse_socket(text, &address, error);
	} else {
		const char *begin, *end = find_host(text, form, &begin, error);
		if (end == NULL)
			return false;
		snprintf(address.host, sizeof(address.host), "%.*s", (int)(end - begin), begin);
		bool is_ipv6 = address.kind == ADDRESS_IPV6;
		ok = (is_ipv6 ? check_ipv6 : check_host)(text, form, address.host, error) &&
		     parse_port(text, form, end + is_ipv6, &address.port, error);
	}
	if (ok && ret_address != NULL)
		*ret_address = address;
	return ok;
}

char *address_write(const struct address *address, char *into, size_t size)
{
	bool is_ipv6 = address->kind == ADDRESS_IPV6;
	int used = snprintf(into, size, "%s%s%s",
			    address->kind == ADDRESS_SOCKET ? socket_prefix
			    : is_ipv6                       ? "["
							    : "",
			    address->host, is_ipv6 ? "]" : "");
	if (address->port != ADDRESS_NO_PORT && (size_t)used < size)
		snprintf(into + used, size - (size_t)used, ":%d", address->port);
	return into;
}

bool address_is_socket(const char *text)
{
	return strncmp(text, socket_prefix, strlen(socket_prefix)) == 0;
}

bool address_is_local(const char *text)
{
	struct address address;
	struct in_addr v4;
	struct in6_addr v6;
	if (!address_parse(text, ADDRESS_WHOLE, &address, NULL))
		return false;
	if (address.kind == ADDRESS_SOCKET)
		return true;
	if (address.kind == ADDRESS_IPV6)
		return inet_pton(AF_INET6, address.host, &v6) == 1 &&
		       (IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127));
	if (inet_pton(AF_INET, address.host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return strcasecmp(address.host, "localhost") == 0;
}
