// The TLS options of every command that calls daemons. One thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/options/table.h"
#include "common/rpc/tls.h"

struct tls_arguments {
	const char *cert_file, *key_file, *ca_file, *server_name; // NULL: not given; strings stay where they were
};

// clang-format off
// Rows of a table that fills `type`; `member`, with a dot behind it, is the struct tls_arguments in that. More members of each row may follow.
#define TLS_ARGUMENTS_ROWS(type, member, ...)                                                                           \
	{"tls-ca-file", "FILE", OPTION_TEXT, offsetof(type, member ca_file),                                            \
	 .heading = "TLS to daemons (also from the environment: PENSTOCK_TLS_CA_FILE and so on):",                    \
	 .help = "certificates of the authorities that sign the daemons' certificates, PEM", ##__VA_ARGS__},            \
	{"tls-cert-file", "FILE", OPTION_TEXT, .place = offsetof(type, member cert_file), ##__VA_ARGS__},               \
	{"tls-key-file", "FILE", OPTION_TEXT, offsetof(type, member key_file),                                          \
	 .help = "this side's certificate and its private key, PEM", ##__VA_ARGS__},              \
	{"tls-server-name", "NAME", OPTION_TEXT, offsetof(type, member server_name),                                    \
	 .help = "name that the daemons' certificates must have (default: the host in the hostfile)", ##__VA_ARGS__}
// clang-format on

// Whether the command line has one of them.
bool tls_arguments_given(const struct tls_arguments *arguments);
// Adds what the environment says and reads the files. `*ret_tls` is NULL when nobody says anything of TLS; owned.
bool tls_arguments_open(const struct tls_arguments *arguments, struct rpc_tls **ret_tls, struct error *error);
