// A cuDNN 9 for CUDA 12, as far as loading goes: test_libraries.c.
#include <stddef.h>

size_t cudnnGetVersion(void)
{
	return 91900;
}

size_t cudnnGetCudartVersion(void)
{
	return 12090;
}

#define NOT_CALLED(name)                                                                                               \
	void name(void)                                                                                                \
	{                                                                                                              \
	}
NOT_CALLED(cudnnCreate)
NOT_CALLED(cudnnDestroy)
NOT_CALLED(cudnnSetStream)
NOT_CALLED(cudnnGetErrorString)
NOT_CALLED(cudnnGetLastErrorString)
NOT_CALLED(cudnnBackendCreateDescriptor)
NOT_CALLED(cudnnBackendDestroyDescriptor)
NOT_CALLED(cudnnBackendFinalize)
NOT_CALLED(cudnnBackendSetAttribute)
NOT_CALLED(cudnnBackendGetAttribute)
NOT_CALLED(cudnnBackendExecute)

// And of cuBLASLt, so that the file serves as both.
NOT_CALLED(cublasLtGetVersion)
NOT_CALLED(cublasLtCreate)
NOT_CALLED(cublasLtDestroy)
NOT_CALLED(cublasLtGetStatusName)
NOT_CALLED(cublasLtGetStatusString)
NOT_CALLED(cublasLtMatmulDescCreate)
NOT_CALLED(cublasLtMatmulDescDestroy)
NOT_CALLED(cublasLtMatmulDescSetAttribute)
NOT_CALLED(cublasLtMatrixLayoutCreate)
NOT_CALLED(cublasLtMatrixLayoutDestroy)
NOT_CALLED(cublasLtMatmulPreferenceCreate)
NOT_CALLED(cublasLtMatmulPreferenceDestroy)
NOT_CALLED(cublasLtMatmulPreferenceSetAttribute)
NOT_CALLED(cublasLtMatmulAlgoGetHeuristic)
NOT_CALLED(cublasLtMatmulAlgoConfigGetAttribute)
NOT_CALLED(cublasLtMatmulAlgoCapGetAttribute)
NOT_CALLED(cublasLtMatmul)
