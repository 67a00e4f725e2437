// Gradients summed over the replicas of a stage by NCCL, between the GPUs. A layer's gradients lie side by side, with a gap of zeros
// that stays zero under a sum: one all-reduce in place, on a stream of its own, which runs beside the backward pass of the layers
// before it. The events are those of gradients that are copied (gradients.c): the reduction is one more way in which a gradient moves.
//
// NCCL never blocks the executor's thread, which makes all calls of it: the communicator is a non-blocking one, and whoever waits
// asks again and again how it stands, and whether it was stopped. A kernel of NCCL waits on the GPU until all replicas
// have come, for ever if one never does; whatever waits behind it would, too. So nothing waits for a stream before cuda_group_finish
// has seen the reductions end, and cuda_group_abort ends them where they cannot.
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "stage_server/device/cuda/context.h"
#include "stage_server/device/cuda/nccl.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

_Static_assert(sizeof(ncclUniqueId) == DEVICE_GROUP_ID_BYTES, "an id of a group is one of NCCL's");

enum { POLL_NS = 20000 };

bool cuda_group_id(struct device *device, uint8_t *ret_id, struct error *error)
{
	ncclUniqueId id;
	if (!context_acquire(device->gpu, error)) // NCCL looks at the thread's GPU
		return false;
	bool ok = nccl_ok(ncclGetUniqueId(&id), error, "make an id for a group");
	context_release(device->gpu);
	if (!ok)
		return false;
	memcpy(ret_id, &id, sizeof(id));
	return true;
}

// Between two looks at what does not wake us; false when stopped.
static bool pause_or_stop(const struct program *program)
{
	if (atomic_load(program->group_stopped))
		return false;
	nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	return true;
}

static bool say_stopped(struct program *program)
{
	return error_set(&program->fault, ERROR_CANCELLED, "stopped during the wait for other replicas");
}

// Until NCCL has done on the host what it was asked: with a communicator that does not block it may only have begun.
static bool settle(struct program *program, ncclResult_t status, const char *operation)
{
	while (status == NCCL_IN_PROGRESS) {
		ncclResult_t asked = ncclCommGetAsyncError(program->communicator, &status);
		if (asked != NCCL_SUCCESS)
			status = asked;
		if (status == NCCL_IN_PROGRESS && !pause_or_stop(program))
			return say_stopped(program);
	}
	return nccl_ok(status, &program->fault, "%s", operation);
}

// What no pass of this step gave is zero here, and the sum is not.
static bool is_there(struct program *program, struct parameter_state *parameter)
{
	bool ok = cuda_gradient_fill(program, parameter);
	parameter->gradient_is_zero = false;
	return ok;
}

// The bias of a layer follows its weight.
static bool reduce(struct program *program, const struct layer_state *state)
{
	struct parameter_state *first = state->weight, *last = state->bias != NULL ? state->bias : state->weight;
	cudaStream_t stream = program->reduce;
	if (!is_there(program, first) || !is_there(program, last) ||
	    !cuda_gradient_begin_move(program, first, stream) || !cuda_gradient_begin_move(program, last, stream))
		return false;
	float *gradients = cuda_parameter_gradient(program, first);
	uint64_t count = last->place + last->description.count - first->place;
	ncclResult_t status =
		ncclAllReduce(gradients, gradients, count, NCCL_FLOAT32, NCCL_SUM, program->communicator, stream);
	program->is_reducing = true;
	return settle(program, status, "all-reduce") && cuda_gradient_end_move(program, first, stream) &&
	       cuda_gradient_end_move(program, last, stream) && cuda_record(program->reduced, stream, &program->fault);
}

// NCCL connects the replicas, loads its kernels and allocates its buffers when a reduction first wants them, each size's its own way: so
// before the first step all of them are issued once, on zeros.
static bool rehearse(struct program *program)
{
	for (uint32_t i = 0; i < program->layer_count; i++)
		if (program->layers[i].weight != NULL && !reduce(program, &program->layers[i]))
			return false;
	if (!cuda_group_finish(program))
		return false;
	for (uint32_t i = 0; i < program->parameter_count; i++) {
		if (!cuda_gradient_take(program, &program->parameters[i]))
			return false;
		program->parameters[i].gradient_is_zero = true;
	}
	return true;
}

bool cuda_group_join(struct program *program, const uint8_t *id, uint32_t replicas, uint32_t replica,
		     const _Atomic(bool) *stopped, struct error *error)
{
	if (!cuda_enter(program, "group_join", 0, true, error))
		return false;
	if (!program->in_group || program->communicator != NULL)
		return error_set(error, ERROR_FAILED, "group_join: the program %s",
				 program->in_group ? "is in a group already" : "was planned without a group");
	ncclUniqueId unique;
	memcpy(&unique, id, sizeof(unique));
	ncclConfig_t config = {
		.size = sizeof(config), .magic = NCCL_CONFIG_MAGIC, .version = NCCL_CONFIG_VERSION, .blocking = 0};
	program->group_stopped = stopped;
	ncclResult_t status =
		ncclCommInitRankConfig(&program->communicator, (int)replicas, unique, (int)replica, &config);
	bool ok = settle(program, status, "NCCL cannot join the replicas (--reduce ring trains without NCCL)");
	ok = ok && rehearse(program);
	return cuda_leave(program, ok, error, "group_join as replica %u of %u", replica, replicas);
}

bool cuda_group_reduce(struct program *program, uint32_t layer, struct error *error)
{
	if (layer < program->first_layer || layer >= program->end_layer)
		return error_set(error, ERROR_FAILED, "group_reduce: layer %u is not in this stage, [%u, %u)", layer,
				 program->first_layer, program->end_layer);
	if (!cuda_enter(program, "group_reduce", 0, true, error))
		return false;
	if (program->communicator == NULL)
		return error_set(error, ERROR_FAILED, "group_reduce: the program is not in a group");
	const struct layer_state *state = &program->layers[layer - program->first_layer];
	return cuda_leave(program, state->weight == NULL || reduce(program, state), error, "group_reduce of layer %s",
			  state->layer->name);
}

bool cuda_group_wait(struct program *program, struct error *error)
{
	if (!cuda_enter(program, "group_wait", 0, true, error))
		return false;
	bool ok = true;
	for (uint32_t i = 0; i < program->parameter_count && ok; i++)
		ok = cuda_gradient_take(program, &program->parameters[i]);
	return cuda_leave(program, ok, error, "group_wait");
}

bool cuda_group_finish(struct program *program)
{
	while (program->is_reducing) {
		cudaError_t done = cudaEventQuery(program->reduced);
		if (done != cudaErrorNotReady) {
			program->is_reducing = false;
			return cuda_ok(done, &program->fault, "wait for the sums over the replicas");
		}
		(void)cudaGetLastError(); // not ready is no error
		ncclResult_t status = NCCL_SUCCESS;
		if (!nccl_ok(ncclCommGetAsyncError(program->communicator, &status), &program->fault,
			     "query the state of NCCL") ||
		    (status != NCCL_IN_PROGRESS &&
		     !nccl_ok(status, &program->fault, "wait for the sums over the replicas")))
			return false;
		if (!pause_or_stop(program))
			return say_stopped(program);
	}
	return true;
}

void cuda_group_abort(struct program *program)
{
	if (program->communicator == NULL)
		return;
	nccl_ok(ncclCommAbort(program->communicator), NULL, "abort a communicator");
	program->communicator = NULL;
	program->is_reducing = false;
}

// What this replica still has to send to others leaves before its communicator does.
void cuda_group_leave(struct program *program)
{
	if (program->communicator != NULL && cuda_group_finish(program) &&
	    settle(program, ncclCommFinalize(program->communicator), "leave the group")) {
		nccl_ok(ncclCommDestroy(program->communicator), NULL, "destroy a communicator");
		program->communicator = NULL;
	}
	cuda_group_abort(program);
}
