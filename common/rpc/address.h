// Addresses as rpc_server_start and rpc_client_create take them: "127.0.0.1:7070", "[::1]:7070", "unix:/run/penstock.sock".
// Pure; any thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

bool rpc_address_is_unix(const char *address); // a Unix socket's
// Whether it is one to listen on: HOST:PORT, [IPv6]:PORT or unix:/PATH. ERROR_USAGE quotes it and says what is wrong.
bool rpc_address_check(const char *address, struct error *error);
// Whether only this machine reaches it: a Unix socket, or a loopback address.
bool rpc_address_is_local(const char *address);
