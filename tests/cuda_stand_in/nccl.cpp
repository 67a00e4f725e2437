// NCCL of the stand-in: the members of a communicator are in one process and meet under a lock. See stand_in.h.
//
// An all-reduce that is issued on a member's stream waits there until all members have come to it; the last one adds up, in the
// order of ranks, into everybody's memory. As with the real one a member that does not come is waited for, until the waiting member
// itself is aborted.
#include <map>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <vector>

#include "internal.hpp"
#include "stage_server/device/cuda/nccl.h"

namespace
{

// One all-reduce of all members.
struct meeting {
	std::vector<float *> memory; // [ranks]; NULL: not come, or gone again
	size_t count = 0, come = 0;
	bool is_over = false;
};

struct group {
	std::mutex mutex;
	std::condition_variable changed;
	std::vector<int> gpus; // [ranks]; -1: has not joined
	size_t joined = 0;
	bool has_duplicate = false, has_lost = false;
	std::map<uint64_t, std::shared_ptr<meeting>> meetings; // by their number
};

// What a member's work on a stream holds beside the communicator itself.
struct member {
	std::shared_ptr<struct group> group;
	size_t rank;
	bool is_aborted = false; // the group's lock
};

std::mutex registry_mutex;

std::map<std::string, std::weak_ptr<group>> &registry()
{
	static auto *all = new std::map<std::string, std::weak_ptr<group>>;
	return *all;
}

std::atomic<uint64_t> last_id{0};
std::atomic<const char *> last_text{""};

ncclResult_t refuse(ncclResult_t status, const char *text)
{
	last_text = text;
	return status;
}

std::shared_ptr<group> find_group(const ncclUniqueId &id, size_t ranks)
{
	std::lock_guard<std::mutex> lock(registry_mutex);
	std::weak_ptr<group> &place = registry()[std::string(id.internal, sizeof(id.internal))];
	std::shared_ptr<group> found = place.lock();
	if (found == nullptr) {
		found = std::make_shared<group>();
		found->gpus.assign(ranks, -1);
		place = found;
	}
	return found;
}

void add_up(struct meeting &meeting)
{
	for (size_t i = 0; i < meeting.count; i++) {
		float sum = 0.0f;
		for (const float *each : meeting.memory)
			sum += each[i];
		for (float *each : meeting.memory)
			each[i] = sum;
	}
	meeting.is_over = true;
}

// On a stream's thread.
void meet(struct member &self, uint64_t number, float *memory, size_t count)
{
	struct group &group = *self.group;
	std::unique_lock<std::mutex> lock(group.mutex);
	if (self.is_aborted)
		return;
	std::shared_ptr<meeting> &place = group.meetings[number];
	if (place == nullptr)
		place = std::make_shared<meeting>();
	std::shared_ptr<meeting> meeting = place;
	if (meeting->memory.empty()) {
		meeting->memory.assign(group.gpus.size(), NULL);
		meeting->count = count;
	}
	if (meeting->count != count) { // the real one hangs, or writes where it should not
		fprintf(stderr, "NCCL stand-in: all-reduce %llu has %zu elements here and %zu elsewhere\n",
			(unsigned long long)number, count, meeting->count);
		abort();
	}
	meeting->memory[self.rank] = memory;
	if (++meeting->come == meeting->memory.size()) {
		add_up(*meeting);
		group.meetings.erase(number);
		group.changed.notify_all();
		return;
	}
	group.changed.wait(lock, [&] { return meeting->is_over || self.is_aborted; });
	if (!meeting->is_over) {
		meeting->memory[self.rank] = NULL;
		meeting->come--;
	}
}

} // namespace

struct ncclComm {
	std::shared_ptr<member> self;
	uint64_t issued = 0;
};

ncclResult_t ncclGetVersion(int *ret_version)
{
	*ret_version = 21400;
	return NCCL_SUCCESS;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *ret_id)
{
	memset(ret_id, 0, sizeof(*ret_id));
	snprintf(ret_id->internal, sizeof(ret_id->internal), "group %llu", (unsigned long long)++last_id);
	return NCCL_SUCCESS;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *ret_comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config)
{
	if (config->size != sizeof(*config) || config->magic != NCCL_CONFIG_MAGIC || config->blocking != 0)
		return refuse(NCCL_INVALID_ARGUMENT, "the config is none, or blocks");
	if (ranks < 1 || rank < 0 || rank >= ranks)
		return refuse(NCCL_INVALID_ARGUMENT, "the rank is not below the number of ranks");
	std::shared_ptr<struct group> group = find_group(id, (size_t)ranks);
	std::lock_guard<std::mutex> lock(group->mutex);
	if (group->gpus.size() != (size_t)ranks || group->gpus[(size_t)rank] >= 0)
		return refuse(NCCL_INVALID_ARGUMENT, "another member has that rank, or another number of ranks");
	int gpu = 0;
	cudaGetDevice(&gpu);
	for (int other : group->gpus)
		group->has_duplicate |= other == gpu;
	group->gpus[(size_t)rank] = gpu;
	group->joined++;
	*ret_comm = new ncclComm;
	(*ret_comm)->self = std::make_shared<member>();
	(*ret_comm)->self->group = group;
	(*ret_comm)->self->rank = (size_t)rank;
	return NCCL_IN_PROGRESS;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *ret_status)
{
	struct group &group = *comm->self->group;
	std::lock_guard<std::mutex> lock(group.mutex);
	*ret_status = group.joined < group.gpus.size() ? NCCL_IN_PROGRESS : NCCL_SUCCESS;
	last_text = "";
	if (group.has_lost)
		*ret_status = refuse(NCCL_REMOTE_ERROR, "");
	if (group.has_duplicate)
		*ret_status =
			refuse(NCCL_INVALID_USAGE, "Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 0");
	return NCCL_SUCCESS;
}

ncclResult_t ncclCommFinalize(ncclComm_t)
{
	return NCCL_SUCCESS;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
	delete comm;
	return NCCL_SUCCESS;
}

// Its work on streams is over when this returns, as what waits there wakes under the lock.
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
	struct group &group = *comm->self->group;
	{
		std::lock_guard<std::mutex> lock(group.mutex);
		comm->self->is_aborted = true;
		group.has_lost |= getenv("PENSTOCK_STAND_IN_NCCL_NOTICES") != NULL;
		group.changed.notify_all();
	}
	delete comm;
	return NCCL_SUCCESS;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operation,
			   ncclComm_t comm, cudaStream_t stream)
{
	if (from != to || type != NCCL_FLOAT32 || operation != NCCL_SUM)
		return refuse(NCCL_INVALID_ARGUMENT, "the stand-in sums float32 in place, and nothing else");
	std::shared_ptr<member> self = comm->self;
	if (comm->issued == 0)
		count_allocation(); // its buffers
	uint64_t number = comm->issued++;
	if (!stand_in_enqueue(stream, [=] { meet(*self, number, (float *)to, count); }))
		return refuse(NCCL_UNHANDLED_CUDA_ERROR, "the stream");
	return NCCL_SUCCESS;
}

const char *ncclGetErrorString(ncclResult_t status)
{
	switch (status) {
	case NCCL_SUCCESS:
		return "no error";
	case NCCL_INVALID_ARGUMENT:
		return "invalid argument";
	case NCCL_INVALID_USAGE:
		return "invalid usage";
	case NCCL_REMOTE_ERROR:
		return "remote process exited or there was a network error";
	default:
		return "unknown result code";
	}
}

const char *ncclGetLastError(ncclComm_t)
{
	return last_text;
}
