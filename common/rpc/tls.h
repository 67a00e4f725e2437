// What a process shows to others over TLS, and whom it trusts: three PEM files, read together and checked before anybody uses
// them. Servers ask anew for each connection, clients take what there is when they are created, so after a reload new
// connections use the new files and those that stand go on.
//
// Unix sockets never use TLS: the file's permissions say who may come.
//
// Threads: any.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "common/base/error.h"

struct rpc_tls_options {
	const char *cert_file, *key_file; // both or none; a server needs them
	const char *ca_file;
	const char *server_name; // clients: what a server's certificate must name in place of the host dialled; or NULL
	bool client_auth;        // servers: whoever calls must show a certificate that `ca_file` signed
};

struct rpc_tls;

// Reads the files. ERROR_USAGE names the option, the file and what is wrong with it: it cannot be read, is no PEM, the key is
// another certificate's, the certificate has expired or is not valid yet. Returns owned.
bool rpc_tls_create(const struct rpc_tls_options *options, struct rpc_tls **ret_tls, struct error *error);
void rpc_tls_destroy(struct rpc_tls *tls); // takes NULL; after the servers and clients that use it
// Reads the files again. False with an error: all stays as it was.
bool rpc_tls_reload(struct rpc_tls *tls, struct error *error);
time_t rpc_tls_expiry(struct rpc_tls *tls); // of the certificate in use; 0: there is none

// Whether an address as rpc_server_start and rpc_client_create take it is a Unix socket's.
bool rpc_address_is_unix(const char *address);
// Whether it is one to listen on: HOST:PORT, [IPv6]:PORT or unix:/PATH. ERROR_USAGE quotes it and says what is wrong.
bool rpc_address_check(const char *address, struct error *error);
// And whether only this machine reaches it: such a socket, or a loopback address.
bool rpc_address_is_local(const char *address);

// ---- Names in certificates

// "node-1.example.org", or "*.example.org", whose star stands for exactly one label of a host's name. ERROR_USAGE for any other star.
bool rpc_name_check(const char *pattern, struct error *error);
// Letters match in either case. `name` need not end with a zero; one that holds a zero matches nothing.
bool rpc_name_matches(const char *pattern, const char *name, size_t length);
