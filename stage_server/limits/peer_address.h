// What a peer is called: by gRPC ("ipv4:127.0.0.1:4711"), and by the system (a struct sockaddr), brought together. Pure; any thread.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { PEER_ADDRESS_SIZE = INET6_ADDRSTRLEN + 8 };

// "127.0.0.1:4711", "::1:4711" or "unix".
void peer_address_format(const struct sockaddr *address, char *text, size_t size);
// Of whom an address is: an IPv4 address, or the network of 64 bits that an IPv6 address is in, for all of it is one customer's.
struct peer_host {
	uint32_t version;  // of IP; 0: a Unix socket, which comes from nowhere
	uint32_t words[2]; // of the address, its beginning; the machine's byte order
};
struct peer_host peer_address_host(const struct sockaddr *address);
bool peer_host_is(const struct peer_host *a, const struct peer_host *b);
// Of either form, the same for both; 0: a Unix socket, which has no address of its own.
uint64_t peer_address_key(const char *peer);
