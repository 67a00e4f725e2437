// See tls_arguments.h.
#include "coordinator/command/tls_arguments.h"

#include <stdlib.h>

bool tls_arguments_given(const struct tls_arguments *arguments)
{
	return arguments->cert_file != NULL || arguments->key_file != NULL || arguments->ca_file != NULL ||
	       arguments->server_name != NULL;
}

// What is not given takes its variable's value, where that is not empty.
static void add_environment(struct tls_arguments *arguments)
{
	static const struct option_row rows[] = {TLS_ARGUMENTS_ROWS(struct tls_arguments, )};
	char name[64];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char **place = (const char **)((char *)arguments + rows[i].place);
		const char *value = getenv(option_variable(&rows[i], name, sizeof(name)));
		if (*place == NULL && value != NULL && *value != '\0')
			*place = value;
	}
}

bool tls_arguments_open(const struct tls_arguments *arguments, struct rpc_tls **ret_tls, struct error *error)
{
	struct tls_arguments all = *arguments;
	add_environment(&all);
	struct rpc_tls_options options = {.cert_file = all.cert_file,
					  .key_file = all.key_file,
					  .ca_file = all.ca_file,
					  .server_name = all.server_name};
	*ret_tls = NULL;
	return !tls_arguments_given(&all) || rpc_tls_create(&options, ret_tls, error);
}
