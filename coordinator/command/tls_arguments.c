// See tls_arguments.h.
#include "coordinator/command/tls_arguments.h"

#include <getopt.h>
#include <stdlib.h>

static const char **place_of(struct tls_arguments *arguments, int code)
{
	switch (code) {
	case COMMAND_OPTION_TLS_CERT_FILE:
		return &arguments->cert_file;
	case COMMAND_OPTION_TLS_KEY_FILE:
		return &arguments->key_file;
	case COMMAND_OPTION_TLS_CA_FILE:
		return &arguments->ca_file;
	case COMMAND_OPTION_TLS_SERVER_NAME:
		return &arguments->server_name;
	default:
		return NULL;
	}
}

bool tls_arguments_take(struct tls_arguments *arguments, int code, bool *ret_ok, struct error *error)
{
	static const struct option rows[] = {TLS_ARGUMENTS_ROWS};
	const char **place = place_of(arguments, code);
	if (place == NULL)
		return false;
	*place = optarg;
	*ret_ok = *optarg != '\0' || error_set(error, ERROR_USAGE, "--%s: its value is empty",
					       rows[code - COMMAND_OPTION_TLS_CERT_FILE].name);
	return true;
}

bool tls_arguments_given(const struct tls_arguments *arguments)
{
	return arguments->cert_file != NULL || arguments->key_file != NULL || arguments->ca_file != NULL ||
	       arguments->server_name != NULL;
}

static const char *or_environment(const char *value, const char *name)
{
	if (value == NULL)
		value = getenv(name);
	return value != NULL && *value != '\0' ? value : NULL;
}

bool tls_arguments_open(const struct tls_arguments *arguments, struct rpc_tls **ret_tls, struct error *error)
{
	struct rpc_tls_options options = {
		.cert_file = or_environment(arguments->cert_file, "PENSTOCK_TLS_CERT_FILE"),
		.key_file = or_environment(arguments->key_file, "PENSTOCK_TLS_KEY_FILE"),
		.ca_file = or_environment(arguments->ca_file, "PENSTOCK_TLS_CA_FILE"),
		.server_name = or_environment(arguments->server_name, "PENSTOCK_TLS_SERVER_NAME"),
	};
	*ret_tls = NULL;
	bool has_tls = options.cert_file != NULL || options.key_file != NULL || options.ca_file != NULL ||
		       options.server_name != NULL;
	return !has_tls || rpc_tls_create(&options, ret_tls, error);
}
