// See announce.h.
#include "stage_server/service/announce.h"

#include <stdio.h>

#include "common/base/address.h"
#include "common/base/log.h"
#include "common/base/output_file.h"

// The address as given, with the port that was really bound.
static void bound_address(const struct daemon_options *options, const struct rpc_server *server, uint32_t index,
			  char *into, size_t size)
{
	const char *given = options->listen.values[index];
	struct address address;
	if (!address_parse(given, ADDRESS_WHOLE, &address, NULL)) {
		snprintf(into, size, "%s", given);
		return;
	}
	if (address.port == 0)
		address.port = rpc_server_port(server, index);
	address_write(&address, into, size);
}

// Replaced as a whole, so that a program that waits for the file reads a whole line.
static bool write_ready_file(const char *path, const char *address, struct error *error)
{
	char line[ADDRESS_SIZE + 1];
	int length = snprintf(line, sizeof(line), "%s\n", address);
	return output_file_replace(path, line, (size_t)length, error) || error_wrap(error, "--ready-file");
}

bool announce(const struct daemon_options *options, const struct rpc_server *server, const struct http *http,
	      struct error *error)
{
	char address[ADDRESS_SIZE];
	for (uint32_t i = 0; i < options->listen.count; i++) {
		bound_address(options, server, i, address, sizeof(address));
		log_info("listening on %s", address);
	}
	if (http != NULL)
		log_info("metrics on port %d", http_port(http));
	if (options->ready_file == NULL)
		return true;
	bound_address(options, server, 0, address, sizeof(address));
	return write_ready_file(options->ready_file, address, error);
}
