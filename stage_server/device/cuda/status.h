// What CUDA, cuDNN, cuBLASLt and NCCL answer, as errors of ours, at the call site: `operation` says what was tried ("finalize the plan of
// fused.engine_3") and the vendor's name and text of the status follow. ERROR_OUT_OF_MEMORY where the device's, or the library's,
// memory is out; ERROR_FAILED for the rest. All return true for success, and then leave `error` alone.
//
// Threads: the one that made the call: CUDA and cuDNN keep their last error for each thread.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <stdbool.h>

#include "common/base/error.h"
#include "stage_server/device/cuda/nccl.h"

bool cuda_ok(cudaError_t status, struct error *error, const char *operation, ...) __attribute__((format(printf, 3, 4)));
bool cudnn_ok(cudnnStatus_t status, struct error *error, const char *operation, ...)
	__attribute__((format(printf, 3, 4)));
bool cublas_ok(cublasStatus_t status, struct error *error, const char *operation, ...)
	__attribute__((format(printf, 3, 4)));
// ERROR_UNREACHABLE where another member of the group is gone.
bool nccl_ok(ncclResult_t status, struct error *error, const char *operation, ...)
	__attribute__((format(printf, 3, 4)));
