// Where the ranks of jobs run: on the daemons of a hostfile, or on those that --local starts. Read once and started once; then job
// after job may be placed on the first of them. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "coordinator/command/job_arguments.h"
#include "coordinator/config/hostfile.h"
#include "coordinator/daemons/local.h"

// The nodes, in their order: a hostfile's hosts, or --local's daemons, with one device each. Where neither is given there are
// none: one can plan for any number of nodes with one device each, and place nothing.
struct job_nodes {
	const char *name; // for messages: the hostfile's path, "--local" or "--nodes"
	struct hostfile hostfile;
	struct local_options local; // count 0 without --local
	struct local_daemons *daemons;
	struct tls_arguments tls_arguments;
	struct rpc_tls *tls; // to a hostfile's hosts; NULL: without, or not started
};

// Of each rank of a job, in their order: rank r has the r-th device, counted node after node.
struct job_place {
	const char **addresses; // [ranks]; the strings are the nodes'
	uint32_t *devices;      // [ranks]; index in the daemon's list
	struct rpc_tls *tls;    // the nodes'
};

// Reads the hostfile, if one is named, and starts nothing. What the arguments point to is borrowed as long as the nodes live.
bool job_nodes_read(const struct job_arguments *arguments, struct job_nodes *ret_nodes, struct error *error);
void job_nodes_warn(const char *path, const struct hostfile *hostfile); // of words that are ignored
uint32_t job_nodes_count(const struct job_nodes *nodes);                // 0: none are named
// Of the first `count` nodes together; `count` is at most job_nodes_count, where nodes are named.
uint32_t job_nodes_devices(const struct job_nodes *nodes, uint32_t count);
// ERROR_USAGE where an option does not go with these nodes. job_nodes_start checks it, too: this is to know it before.
bool job_nodes_check(const struct job_nodes *nodes, struct error *error);
// Starts --local's daemons, all of them, or reads the TLS files for those of the hostfile; before rpc_start. Refuses what can only be planned for.
bool job_nodes_start(struct job_nodes *nodes, struct error *error);
void job_nodes_fini(struct job_nodes *nodes); // stops what was started; after rpc_stop

// Of nodes that are started; `ranks` is at most their devices. The first ranks' places do not depend on their number.
bool job_nodes_place(const struct job_nodes *nodes, uint32_t ranks, struct job_place *ret_place, struct error *error);
void job_place_fini(struct job_place *place);
