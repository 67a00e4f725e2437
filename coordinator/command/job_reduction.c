// See job_reduction.h.
#include "coordinator/command/job_reduction.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "coordinator/daemons/describe.h"
#include "coordinator/plan/rank_name.h"

enum { NAME_SIZE = 64 };

static const char group_name[] = "nccl"; // Device.group

// The device of a rank, as its daemon calls it.
struct rank_device {
	char name[NAME_SIZE];
	bool has_group;
};

static void read_device(const Penstock__V1__DescribeResponse *node, uint32_t index, struct rank_device *ret_device)
{
	*ret_device = (struct rank_device){0};
	if (index >= node->n_devices) // which its Open will tell
		return;
	strings_printable(node->devices[index]->name, ret_device->name, sizeof(ret_device->name));
	ret_device->has_group = strcmp(node->devices[index]->group, group_name) == 0;
}

// Asks each daemon once.
static bool read_devices(const struct job_place *place, uint32_t ranks, struct rank_device *ret_devices,
			 struct error *error)
{
	for (uint32_t first = 0; first < ranks; first++) {
		bool is_known = false;
		for (uint32_t r = 0; r < first && !is_known; r++)
			is_known = strcmp(place->addresses[r], place->addresses[first]) == 0;
		if (is_known)
			continue;
		Penstock__V1__DescribeResponse *node;
		if (!describe(place->addresses[first], place->tls, PROTOCOL_TIMEOUT_MS, &node, error))
			return error_wrap(error, "%s", place->addresses[first]);
		for (uint32_t r = first; r < ranks; r++)
			if (strcmp(place->addresses[r], place->addresses[first]) == 0)
				read_device(node, place->devices[r], &ret_devices[r]);
		penstock__v1__describe_response__free_unpacked(node, NULL);
	}
	return true;
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
					 "%s: its device %s holds replica %u of the stage already, and NCCL takes each "
					 "GPU once",
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
		log_info("replicas sum their gradients by NCCL");
	else if (strcmp(arguments->reduce, "auto") == 0)
		log_debug("replicas sum their gradients around a ring: %s", error->message);
	else
		return error_wrap(error, "--reduce nccl (--reduce ring does without it)");
	return true;
}
