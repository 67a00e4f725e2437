// See peer_address.h.
#include "stage_server/limits/peer_address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

void peer_address_format(const struct sockaddr *address, char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "";
	uint16_t port = 0;
	snprintf(text, size, "unix");
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)address;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		port = in->sin_port;
	} else if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
		if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) // as gRPC writes it
			inet_ntop(AF_INET, in->sin6_addr.s6_addr + 12, host, sizeof(host));
		else
			inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
		port = in->sin6_port;
	} else {
		return;
	}
	snprintf(text, size, "%s:%d", host, ntohs(port));
}

// Of "ipv4:127.0.0.1:4711" as of "127.0.0.1:4711", of "ipv6:%5B::1%5D:4711" as of "::1:4711".
uint64_t peer_address_key(const char *peer)
{
	uint64_t key = UINT64_C(14695981039346656037); // FNV-1a
	if (strncmp(peer, "unix", 4) == 0)
		return 0;
	if (strncmp(peer, "ipv4:", 5) == 0 || strncmp(peer, "ipv6:", 5) == 0)
		peer += 5;
	for (; *peer != '\0'; peer++) {
		if (*peer == '[' || *peer == ']')
			continue;
		if (strncmp(peer, "%5B", 3) == 0 || strncmp(peer, "%5D", 3) == 0) {
			peer += 2;
			continue;
		}
		if (*peer == '%') { // an interface's name, until the bracket
			while (peer[1] != '\0' && peer[1] != ']' && strncmp(peer + 1, "%5D", 3) != 0)
				peer++;
			continue;
		}
		key = (key ^ (uint8_t)*peer) * UINT64_C(1099511628211);
	}
	return key | 1;
}

struct peer_host peer_address_host(const struct sockaddr *address)
{
	struct peer_host host = {.version = 0};
	if (address->sa_family == AF_INET) {
		host = (struct peer_host){4, {ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr)}};
	} else if (address->sa_family == AF_INET6) {
		const uint32_t *words = ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr32;
		if (IN6_IS_ADDR_V4MAPPED(words))
			host = (struct peer_host){4, {ntohl(words[3])}};
		else
			host = (struct peer_host){6, {ntohl(words[0]), ntohl(words[1])}};
	}
	return host;
}

bool peer_host_is(const struct peer_host *a, const struct peer_host *b)
{
	return a->version == b->version && a->words[0] == b->words[0] && a->words[1] == b->words[1];
}
