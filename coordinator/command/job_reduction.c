// See job_reduction.h.
#include "coordinator/command/job_reduction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "coordinator/daemons/poll.h"
#include "coordinator/plan/rank_name.h"
#include "coordinator/run/unreachable.h"

enum { NAME_SIZE = 64 };

static const char group_name[] = "nccl"; // Device.group

// The device of a rank, as its daemon calls it.
struct rank_device {
	char name[NAME_SIZE];
	bool has_group;
};

static void read_device(const struct node_description *node, uint32_t index, struct rank_device *ret_device)
{
	*ret_device = (struct rank_device){0};
	if (index >= node->device_count) // which its Open will tell
		return;
	strings_printable(node->devices[index].name, ret_device->name, sizeof(ret_device->name));
	ret_device->has_group = strcmp(node->devices[index].group, group_name) == 0;
}

// Each node once. Returns owned, to hostfile_fini.
static bool list_nodes(const struct job_place *place, uint32_t ranks, struct hostfile *ret_nodes, struct error *error)
{
	struct hostfile nodes = {.hosts = calloc(ranks, sizeof(*nodes.hosts))};
	if (nodes.hosts == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t r = 0; r < ranks; r++) {
		bool is_known = false;
		for (uint32_t i = 0; i < nodes.count && !is_known; i++)
			is_known = strcmp(nodes.hosts[i].address, place->addresses[r]) == 0;
		if (!is_known)
			snprintf(nodes.hosts[nodes.count++].address, sizeof(nodes.hosts[0].address), "%s",
				 place->addresses[r]);
	}
	*ret_nodes = nodes;
	return true;
}

// Nodes that cannot be reached are all named.
static bool check_answers(const struct poll *poll, struct error *error)
{
	struct unreachable gone = {0};
	bool ok = true;
	for (uint32_t i = 0; i < poll_count(poll); i++) {
		const struct poll_node *node = poll_node(poll, i);
		if (node->answer != NULL)
			continue;
		if (node->error.code == ERROR_UNREACHABLE)
			unreachable_add(&gone, node->host->address, node->error.message);
		if (ok)
			poll_complaint(node, error);
		ok = false;
	}
	if (gone.count > 1)
		unreachable_explain(&gone, error);
	return ok;
}

static void take_answers(const struct poll *poll, const struct job_place *place, uint32_t ranks,
			 struct rank_device *ret_devices)
{
	for (uint32_t i = 0; i < poll_count(poll); i++) {
		const struct poll_node *node = poll_node(poll, i);
		for (uint32_t r = 0; r < ranks; r++)
			if (strcmp(place->addresses[r], node->host->address) == 0)
				read_device(node->answer, place->devices[r], &ret_devices[r]);
	}
}

// Asks all daemons at once.
static bool read_devices(const struct job_place *place, uint32_t ranks, struct rank_device *ret_devices,
			 struct error *error)
{
	struct hostfile nodes = {0};
	struct poll *poll = NULL;
	bool ok = list_nodes(place, ranks, &nodes, error) && poll_create(&nodes, place->tls, &poll, error);
	if (ok) {
		poll_begin(poll, PROTOCOL_TIMEOUT_MS);
		poll_end(poll);
		ok = check_answers(poll, error);
	}
	if (ok)
		take_answers(poll, place, ranks, ret_devices);
	poll_destroy(poll);
	hostfile_fini(&nodes);
	return ok;
}

static bool is_same_device(const struct job_place *place, const struct rank_device *devices, uint32_t a, uint32_t b)
{
	return strcmp(place->addresses[a], place->addresses[b]) == 0 && strcmp(devices[a].name, devices[b].name) == 0;
}

// False says what stands in the way.
static bool check_rank(const struct plan *plan, const struct job_place *place, const struct rank_device *devices,
		       uint32_t rank, struct error *error)
{
	char who[RANK_NAME_SIZE];
	rank_name(plan, rank, place->addresses[rank], who, sizeof(who));
	if (!devices[rank].has_group)
		return error_set(error, ERROR_USAGE, "%s: its device %s has no NCCL", who, devices[rank].name);
	for (uint32_t r = rank - plan_rank_replica(plan, rank); r < rank; r++)
		if (is_same_device(place, devices, r, rank))
			return error_set(error, ERROR_USAGE,
					 "%s: its device %s already has replica %u of the stage, and NCCL allows only "
					 "one replica per GPU",
					 who, devices[rank].name, plan_rank_replica(plan, r));
	return true;
}

static bool check_ranks(const struct plan *plan, const struct job_place *place, struct error *error)
{
	uint32_t ranks = plan_rank_count(plan);
	struct rank_device *devices = calloc(ranks, sizeof(*devices));
	bool ok = (devices != NULL || error_set(error, ERROR_FAILED, "out of memory")) &&
		  read_devices(place, ranks, devices, error);
	for (uint32_t r = 0; r < ranks && ok; r++)
		ok = check_rank(plan, place, devices, r, error);
	free(devices);
	return ok;
}

bool job_reduction_choose(const struct job_arguments *arguments, const struct plan *plan, const struct job_place *place,
			  bool *ret_in_group, struct error *error)
{
	*ret_in_group = false;
	if (plan->options.data_parallel_size == 1 || strcmp(arguments->reduce, "ring") == 0)
		return true;
	*ret_in_group = check_ranks(plan, place, error);
	if (*ret_in_group)
		log_info("replicas sum their gradients with NCCL");
	else if (strcmp(arguments->reduce, "auto") == 0)
		log_debug("replicas sum their gradients around a ring: %s", error->message);
	else
		return error_wrap(error, "--reduce nccl (--reduce ring does not use NCCL)");
	return true;
}
