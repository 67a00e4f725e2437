// See job_nodes.h.
#include "coordinator/command/job_nodes.h"

#include <stdlib.h>

#include "common/base/log.h"

void job_nodes_warn(const char *path, const struct hostfile *hostfile)
{
	if (hostfile->ignored[0] != '\0')
		log_warning("%s: ignored: %s; only slots=N is used", path, hostfile->ignored);
}

bool job_nodes_read(const struct job_arguments *arguments, struct job_nodes *ret_nodes, struct error *error)
{
	struct job_nodes nodes = {.name = "--nodes",
				  .tls_arguments = arguments->tls,
				  .local = {.count = arguments->local,
					    .threads = arguments->threads,
					    .memory_limit = arguments->memory_limit}};
	if (arguments->hostfile != NULL && arguments->local > 0)
		return error_set(error, ERROR_USAGE, "--hostfile and --local exclude each other");
	if (arguments->nodes > 0 && arguments->local > 0)
		return error_set(error, ERROR_USAGE,
				 "--nodes and --local exclude each other: --local %u starts that many daemons, and "
				 "all are used",
				 arguments->local);
	if (arguments->local > 0)
		nodes.name = "--local";
	if (arguments->hostfile != NULL) {
		nodes.name = arguments->hostfile;
		if (!hostfile_read(arguments->hostfile, &nodes.hostfile, error))
			return false;
		job_nodes_warn(arguments->hostfile, &nodes.hostfile);
	}
	*ret_nodes = nodes;
	return true;
}

uint32_t job_nodes_count(const struct job_nodes *nodes)
{
	return nodes->hostfile.count > 0 ? nodes->hostfile.count : nodes->local.count;
}

uint32_t job_nodes_devices(const struct job_nodes *nodes, uint32_t count)
{
	uint32_t devices = 0;
	if (nodes->hostfile.count == 0)
		return count;
	for (uint32_t i = 0; i < count; i++)
		devices += nodes->hostfile.hosts[i].slots;
	return devices;
}

bool job_nodes_check(const struct job_nodes *nodes, struct error *error)
{
	return nodes->hostfile.count == 0 || nodes->local.threads == 0 ||
	       error_set(error, ERROR_USAGE, "--threads applies only to the daemons that --local starts");
}

bool job_nodes_start(struct job_nodes *nodes, struct error *error)
{
	if (nodes->local.count > 0 && tls_arguments_given(&nodes->tls_arguments))
		log_warning("the --tls options are ignored: --local reaches its daemons through Unix sockets");
	if (nodes->local.count > 0)
		return local_daemons_start(&nodes->local, &nodes->daemons, error);
	if (nodes->hostfile.count == 0)
		return error_set(error, ERROR_USAGE,
				 "no nodes are given: name them with -H HOSTFILE, or start some with --local N");
	return job_nodes_check(nodes, error) && tls_arguments_open(&nodes->tls_arguments, &nodes->tls, error);
}

void job_nodes_fini(struct job_nodes *nodes)
{
	local_daemons_stop(nodes->daemons);
	hostfile_fini(&nodes->hostfile);
	rpc_tls_destroy(nodes->tls);
	nodes->daemons = NULL;
	nodes->tls = NULL;
}

bool job_nodes_place(const struct job_nodes *nodes, uint32_t ranks, struct job_place *ret_place, struct error *error)
{
	struct job_place place = {.addresses = calloc(ranks, sizeof(*place.addresses)),
				  .devices = calloc(ranks, sizeof(*place.devices)),
				  .tls = nodes->tls};
	if (place.addresses == NULL || place.devices == NULL) {
		job_place_fini(&place);
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	for (uint32_t r = 0; r < ranks; r++)
		place.addresses[r] = nodes->daemons != NULL
					     ? local_daemons_address(nodes->daemons, r)
					     : hostfile_slot(&nodes->hostfile, r, &place.devices[r])->address;
	*ret_place = place;
	return true;
}

void job_place_fini(struct job_place *place)
{
	free(place->addresses);
	free(place->devices);
	*place = (struct job_place){0};
}
