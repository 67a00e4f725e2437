// Addresses as people, files and peers write them: they are taken apart here and nowhere else. Nothing is looked up or bound. Pure; any
// thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum address_form {
	ADDRESS_WHOLE, // HOST:PORT, [IPv6]:PORT or unix:/PATH; port 0, to listen, is a free one
	ADDRESS_TCP,   // HOST:PORT, [IPv6]:PORT, or :PORT for all addresses of this machine
	ADDRESS_NODE,  // HOST or [IPv6], with a port from 1 or without one, or unix:/PATH: what is called
};

enum address_kind {
	ADDRESS_HOST, // by name, or IPv4
	ADDRESS_IPV6,
	ADDRESS_SOCKET, // a Unix socket
};

enum { ADDRESS_HOST_SIZE = 256, ADDRESS_SIZE = ADDRESS_HOST_SIZE + sizeof("[]:65535"), ADDRESS_NO_PORT = -1 };

struct address {
	enum address_kind kind;
	char host
		[ADDRESS_HOST_SIZE]; // IPv6 without its brackets, perhaps with a zone, as in fe80::1%eth0; a socket's path
	int port;                    // ADDRESS_NO_PORT: there is none
};

// ERROR_USAGE quotes the text and says what is wrong. `ret_address` may be NULL.
bool address_parse(const char *text, enum address_form form, struct address *ret_address, struct error *error);
// As it was parsed; ADDRESS_SIZE is enough. Returns `into`.
char *address_write(const struct address *address, char *into, size_t size);
bool address_is_socket(const char *text); // of one that was parsed, a Unix socket's
// Whether only this machine reaches it: a Unix socket, or a loopback address.
bool address_is_local(const char *text);
