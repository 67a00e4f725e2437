// The TLS options of every command that calls daemons. One thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/rpc/tls.h"
#include "coordinator/command/command.h"

// Codes that no command's own options have.
enum {
	COMMAND_OPTION_TLS_CERT_FILE = 0x1000,
	COMMAND_OPTION_TLS_KEY_FILE,
	COMMAND_OPTION_TLS_CA_FILE,
	COMMAND_OPTION_TLS_SERVER_NAME,
};

// clang-format off
// Rows for getopt_long, and lines for --help.
#define TLS_ARGUMENTS_ROWS                                                       \
	{"tls-cert-file", required_argument, NULL, COMMAND_OPTION_TLS_CERT_FILE}, \
	{"tls-key-file", required_argument, NULL, COMMAND_OPTION_TLS_KEY_FILE},   \
	{"tls-ca-file", required_argument, NULL, COMMAND_OPTION_TLS_CA_FILE},     \
	{"tls-server-name", required_argument, NULL, COMMAND_OPTION_TLS_SERVER_NAME}

#define TLS_ARGUMENTS_HELP                                                                                          \
	"TLS, to daemons that speak it (each also from the environment: PENSTOCK_TLS_CA_FILE and so on):\n"         \
	"  --tls-ca-file FILE        certificates of the authorities that the daemons' must be signed by, PEM\n"    \
	"  --tls-cert-file FILE, --tls-key-file FILE\n"                                                             \
	"                            the certificate that is shown to the daemons, and its private key, PEM\n"      \
	"  --tls-server-name NAME    what the daemons' certificates must name (default: the host of the hostfile)\n"
// clang-format on

struct tls_arguments {
	const char *cert_file, *key_file, *ca_file, *server_name; // NULL: not given; strings stay where they were
};

// Whether `code` is one of these options; then getopt's value is kept, or refused with ERROR_USAGE in `*ret_ok` and `error`.
bool tls_arguments_take(struct tls_arguments *arguments, int code, bool *ret_ok, struct error *error);
// Whether the command line has one of them.
bool tls_arguments_given(const struct tls_arguments *arguments);
// Adds what the environment says and reads the files. `*ret_tls` is NULL when nobody says anything of TLS; owned.
bool tls_arguments_open(const struct tls_arguments *arguments, struct rpc_tls **ret_tls, struct error *error);
