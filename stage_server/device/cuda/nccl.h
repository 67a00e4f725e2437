// What is used of NCCL, NVIDIA's library of reductions between GPUs. The few declarations stand here, since the toolkit has no
// <nccl.h>; their ABI is that of every NCCL 2 from 2.14 on (nccl.h of 2.14 to 2.28; newer ones read a config by its size and version).
#pragma once

#include <cuda_runtime_api.h>
#include <stddef.h>

typedef struct ncclComm *ncclComm_t;

typedef struct ncclUniqueId {
	char internal[128];
} ncclUniqueId;

typedef int ncclResult_t; // an enum of C there, as are the next two
typedef int ncclDataType_t;
typedef int ncclRedOp_t;

enum {
	NCCL_SUCCESS = 0,
	NCCL_UNHANDLED_CUDA_ERROR = 1,
	NCCL_INVALID_ARGUMENT = 4,
	NCCL_INVALID_USAGE = 5,
	NCCL_REMOTE_ERROR = 6,
	NCCL_IN_PROGRESS = 7,
};
enum { NCCL_FLOAT32 = 7 };
enum { NCCL_SUM = 0 };

// As of 2.14: what later versions added has its default.
typedef struct ncclConfig_v21400 {
	size_t size;
	unsigned int magic, version;
	int blocking;
} ncclConfig_t;

enum { NCCL_CONFIG_VERSION = 21400 };
#define NCCL_CONFIG_MAGIC 0xcafebeefu

#ifdef __cplusplus
extern "C" {
#endif

ncclResult_t ncclGetVersion(int *ret_version); // 22803: 2.28.3
ncclResult_t ncclGetUniqueId(ncclUniqueId *ret_id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t *ret_comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *ret_status);
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);
ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operation,
			   ncclComm_t comm, cudaStream_t stream);
const char *ncclGetErrorString(ncclResult_t status);
const char *ncclGetLastError(ncclComm_t comm);

#ifdef __cplusplus
}
#endif
