// See announce.h.
#include "stage_server/service/announce.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/address.h"
#include "common/base/log.h"

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

// Written apart and renamed, so that whoever waits for the file reads a whole line.
static bool write_ready_file(const char *path, const char *address, struct error *error)
{
	char part[4096];
	snprintf(part, sizeof(part), "%s.part", path);
	unlink(part); // whatever somebody else may have put there, such as a link to another file
	FILE *file = fopen(part, "wxe");
	bool ok = file != NULL && fprintf(file, "%s\n", address) > 0;
	ok = file != NULL && fclose(file) == 0 && ok && rename(part, path) == 0;
	if (ok)
		return true;
	error_set(error, ERROR_FAILED, "--ready-file %s: %m", path);
	unlink(part);
	return false;
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
