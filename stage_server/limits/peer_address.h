// What a peer is called: by gRPC ("ipv4:127.0.0.1:4711"), and by the system (a struct sockaddr), brought together. Pure; any thread.
#pragma once

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

enum { PEER_ADDRESS_SIZE = INET6_ADDRSTRLEN + 8 };

// "127.0.0.1:4711", "::1:4711" or "unix".
void peer_address_format(const struct sockaddr *address, char *text, size_t size);
// Of either form, the same for both; 0: a Unix socket, which has no address of its own.
uint64_t peer_address_key(const char *peer);
