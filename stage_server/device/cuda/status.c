// Statuses of CUDA, cuDNN, cuBLASLt and NCCL as errors. See status.h.
#include "stage_server/device/cuda/status.h"

#include <stdarg.h>
#include <stdio.h>

enum { OPERATION_SIZE = 256 };

// Declares `text`: the operation with the caller's arguments after it.
#define FORMAT_OPERATION(text, operation)                                                                              \
	char text[OPERATION_SIZE];                                                                                     \
	do {                                                                                                           \
		va_list arguments;                                                                                     \
		va_start(arguments, operation);                                                                        \
		vsnprintf(text, sizeof(text), operation, arguments);                                                   \
		va_end(arguments);                                                                                     \
	} while (0)

// CUDA's runtime remembers an error until it is asked for; this one has been told, and must not be told again as that of the
// next launch. A sticky one (an illegal address, say) stays what it is.
bool cuda_ok(cudaError_t status, struct error *error, const char *operation, ...)
{
	if (status == cudaSuccess)
		return true;
	(void)cudaGetLastError();
	FORMAT_OPERATION(text, operation);
	return error_set(error, status == cudaErrorMemoryAllocation ? ERROR_OUT_OF_MEMORY : ERROR_FAILED, "%s: %s: %s",
			 text, cudaGetErrorName(status), cudaGetErrorString(status));
}

static bool cudnn_memory_is_out(cudnnStatus_t status)
{
	return status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
	       status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
}

// The status is a name alone ("CUDNN_STATUS_BAD_PARAM"); what was wrong stands in the thread's last error string.
bool cudnn_ok(cudnnStatus_t status, struct error *error, const char *operation, ...)
{
	if (status == CUDNN_STATUS_SUCCESS)
		return true;
	FORMAT_OPERATION(text, operation);
	char detail[512] = "";
	cudnnGetLastErrorString(detail, sizeof(detail));
	detail[sizeof(detail) - 1] = '\0';
	return error_set(error, cudnn_memory_is_out(status) ? ERROR_OUT_OF_MEMORY : ERROR_FAILED, "%s: %s%s%s", text,
			 cudnnGetErrorString(status), detail[0] != '\0' ? ": " : "", detail);
}

bool cublas_ok(cublasStatus_t status, struct error *error, const char *operation, ...)
{
	if (status == CUBLAS_STATUS_SUCCESS)
		return true;
	FORMAT_OPERATION(text, operation);
	return error_set(error, status == CUBLAS_STATUS_ALLOC_FAILED ? ERROR_OUT_OF_MEMORY : ERROR_FAILED,
			 "%s: cuBLASLt: %s: %s", text, cublasLtGetStatusName(status), cublasLtGetStatusString(status));
}

// NCCL keeps one last text for the process.
bool nccl_ok(ncclResult_t status, struct error *error, const char *operation, ...)
{
	if (status == NCCL_SUCCESS)
		return true;
	FORMAT_OPERATION(text, operation);
	const char *detail = ncclGetLastError(NULL);
	bool has_detail = detail != NULL && detail[0] != '\0';
	return error_set(error, status == NCCL_REMOTE_ERROR ? ERROR_UNREACHABLE : ERROR_FAILED, "%s: %s%s%s", text,
			 ncclGetErrorString(status), has_detail ? ": " : "", has_detail ? detail : "");
}
