// The vendor's libraries, looked for when the daemon runs. See libraries.h.
//
// A function that this device calls is a line of one of the lists below: it becomes a pointer, which libraries_load finds, and
// a function of the vendor's name that passes on to it. Nothing here looks at arguments or results.
//
// cuDNN finds its own parts (libcudnn_graph, _engines_precompiled, ...) beside itself: its files' RUNPATHs say so ($ORIGIN). cuBLASLt and
// NVRTC, the compiler of what it and cuBLASLt generate as they run, it asks the loader for by their sonames, which a library that is
// loaded answers to wherever it lies: so both are loaded before it.
#include "stage_server/device/cuda/libraries.h"

#include <cublasLt.h>
#include <cudnn.h>
#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "stage_server/device/cuda/nccl.h"
#include "stage_server/device/cuda/nvml.h"

// ---- the functions: X(result, name, parameters, arguments)

#define CUDNN_FUNCTIONS(X)                                                                                             \
	X(size_t, cudnnGetVersion, (void), ())                                                                         \
	X(size_t, cudnnGetCudartVersion, (void), ())                                                                   \
	X(cudnnStatus_t, cudnnCreate, (cudnnHandle_t * handle), (handle))                                              \
	X(cudnnStatus_t, cudnnDestroy, (cudnnHandle_t handle), (handle))                                               \
	X(cudnnStatus_t, cudnnSetStream, (cudnnHandle_t handle, cudaStream_t stream), (handle, stream))                \
	X(const char *, cudnnGetErrorString, (cudnnStatus_t status), (status))                                         \
	X(void, cudnnGetLastErrorString, (char *into, size_t size), (into, size))                                      \
	X(cudnnStatus_t, cudnnBackendCreateDescriptor,                                                                 \
	  (cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t * ret), (type, ret))                            \
	X(cudnnStatus_t, cudnnBackendDestroyDescriptor, (cudnnBackendDescriptor_t descriptor), (descriptor))           \
	X(cudnnStatus_t, cudnnBackendFinalize, (cudnnBackendDescriptor_t descriptor), (descriptor))                    \
	X(cudnnStatus_t, cudnnBackendSetAttribute,                                                                     \
	  (cudnnBackendDescriptor_t into, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,          \
	   int64_t count, const void *values),                                                                         \
	  (into, name, type, count, values))                                                                           \
	X(cudnnStatus_t, cudnnBackendGetAttribute,                                                                     \
	  (cudnnBackendDescriptor_t from, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,          \
	   int64_t count, int64_t * ret_count, void *ret),                                                             \
	  (from, name, type, count, ret_count, ret))                                                                   \
	X(cudnnStatus_t, cudnnBackendExecute,                                                                          \
	  (cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack), (handle, plan, pack))

#define CUBLASLT_FUNCTIONS(X)                                                                                          \
	X(size_t, cublasLtGetVersion, (void), ())                                                                      \
	X(cublasStatus_t, cublasLtCreate, (cublasLtHandle_t * handle), (handle))                                       \
	X(cublasStatus_t, cublasLtDestroy, (cublasLtHandle_t handle), (handle))                                        \
	X(const char *, cublasLtGetStatusName, (cublasStatus_t status), (status))                                      \
	X(const char *, cublasLtGetStatusString, (cublasStatus_t status), (status))                                    \
	X(cublasStatus_t, cublasLtMatmulDescCreate,                                                                    \
	  (cublasLtMatmulDesc_t * ret, cublasComputeType_t compute, cudaDataType_t scale), (ret, compute, scale))      \
	X(cublasStatus_t, cublasLtMatmulDescDestroy, (cublasLtMatmulDesc_t operation), (operation))                    \
	X(cublasStatus_t, cublasLtMatmulDescSetAttribute,                                                              \
	  (cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t name, const void *value, size_t size),       \
	  (operation, name, value, size))                                                                              \
	X(cublasStatus_t, cublasLtMatrixLayoutCreate,                                                                  \
	  (cublasLtMatrixLayout_t * ret, cudaDataType type, uint64_t rows, uint64_t columns, int64_t leading),         \
	  (ret, type, rows, columns, leading))                                                                         \
	X(cublasStatus_t, cublasLtMatrixLayoutDestroy, (cublasLtMatrixLayout_t layout), (layout))                      \
	X(cublasStatus_t, cublasLtMatmulPreferenceCreate, (cublasLtMatmulPreference_t * ret), (ret))                   \
	X(cublasStatus_t, cublasLtMatmulPreferenceDestroy, (cublasLtMatmulPreference_t preference), (preference))      \
	X(cublasStatus_t, cublasLtMatmulPreferenceSetAttribute,                                                        \
	  (cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t name, const void *value,        \
	   size_t size),                                                                                               \
	  (preference, name, value, size))                                                                             \
	X(cublasStatus_t, cublasLtMatmulAlgoGetHeuristic,                                                              \
	  (cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,                          \
	   cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,                               \
	   cublasLtMatmulPreference_t preference, int count, cublasLtMatmulHeuristicResult_t *ret, int *ret_count),    \
	  (handle, operation, a, b, c, d, preference, count, ret, ret_count))                                          \
	X(cublasStatus_t, cublasLtMatmulAlgoConfigGetAttribute,                                                        \
	  (const cublasLtMatmulAlgo_t *algorithm, cublasLtMatmulAlgoConfigAttributes_t name, void *ret, size_t size,   \
	   size_t *ret_size),                                                                                          \
	  (algorithm, name, ret, size, ret_size))                                                                      \
	X(cublasStatus_t, cublasLtMatmulAlgoCapGetAttribute,                                                           \
	  (const cublasLtMatmulAlgo_t *algorithm, cublasLtMatmulAlgoCapAttributes_t name, void *ret, size_t size,      \
	   size_t *ret_size),                                                                                          \
	  (algorithm, name, ret, size, ret_size))                                                                      \
	X(cublasStatus_t, cublasLtMatmul,                                                                              \
	  (cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void *alpha, const void *a,                  \
	   cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout, const void *beta,          \
	   const void *c, cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout,                   \
	   const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspace_size, cudaStream_t stream),        \
	  (handle, operation, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout, algorithm, workspace,   \
	   workspace_size, stream))

#define NCCL_FUNCTIONS(X)                                                                                              \
	X(ncclResult_t, ncclGetVersion, (int *ret), (ret))                                                             \
	X(ncclResult_t, ncclGetUniqueId, (ncclUniqueId * ret), (ret))                                                  \
	X(ncclResult_t, ncclCommInitRankConfig,                                                                        \
	  (ncclComm_t * ret, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config),                              \
	  (ret, ranks, id, rank, config))                                                                              \
	X(ncclResult_t, ncclCommGetAsyncError, (ncclComm_t comm, ncclResult_t * ret), (comm, ret))                     \
	X(ncclResult_t, ncclCommFinalize, (ncclComm_t comm), (comm))                                                   \
	X(ncclResult_t, ncclCommDestroy, (ncclComm_t comm), (comm))                                                    \
	X(ncclResult_t, ncclCommAbort, (ncclComm_t comm), (comm))                                                      \
	X(ncclResult_t, ncclAllReduce,                                                                                 \
	  (const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operation, ncclComm_t comm,      \
	   cudaStream_t stream),                                                                                       \
	  (from, to, count, type, operation, comm, stream))                                                            \
	X(const char *, ncclGetErrorString, (ncclResult_t status), (status))                                           \
	X(const char *, ncclGetLastError, (ncclComm_t comm), (comm))

#define NVML_FUNCTIONS(X)                                                                                              \
	X(nvmlReturn_t, nvmlInit_v2, (void), ())                                                                       \
	X(nvmlReturn_t, nvmlDeviceGetHandleByPciBusId_v2, (const char *pci_bus_id, nvmlDevice_t *ret),                 \
	  (pci_bus_id, ret))                                                                                           \
	X(nvmlReturn_t, nvmlDeviceGetHandleByUUID, (const char *uuid, nvmlDevice_t *ret), (uuid, ret))                 \
	X(nvmlReturn_t, nvmlDeviceGetUtilizationRates, (nvmlDevice_t device, nvmlUtilization_t * ret), (device, ret))  \
	X(nvmlReturn_t, nvmlDeviceGetMemoryInfo, (nvmlDevice_t device, nvmlMemory_t * ret), (device, ret))             \
	X(nvmlReturn_t, nvmlDeviceGetTemperature, (nvmlDevice_t device, int sensor, unsigned int *ret),                \
	  (device, sensor, ret))                                                                                       \
	X(nvmlReturn_t, nvmlDeviceGetPowerUsage, (nvmlDevice_t device, unsigned int *ret), (device, ret))

// NOLINTBEGIN(bugprone-macro-parentheses): a type stands in no brackets
// Hidden: cuDNN's parts call each other by these names, and must not find ours.
#define DEFINE(result, name, parameters, arguments)                                                                    \
	static result(*name##_found) parameters;                                                                       \
	__attribute__((visibility("hidden"))) result name parameters                                                   \
	{                                                                                                              \
		return name##_found arguments;                                                                         \
	}
// NOLINTEND(bugprone-macro-parentheses)
CUDNN_FUNCTIONS(DEFINE)
CUBLASLT_FUNCTIONS(DEFINE)
NCCL_FUNCTIONS(DEFINE)
NVML_FUNCTIONS(DEFINE)

struct function {
	const char *name;
	void **found;
};
#define ROW(result, name, parameters, arguments) {#name, (void **)&name##_found},
static const struct function cudnn_functions[] = {CUDNN_FUNCTIONS(ROW){NULL, NULL}};
static const struct function cublaslt_functions[] = {CUBLASLT_FUNCTIONS(ROW){NULL, NULL}};
static const struct function nccl_functions[] = {NCCL_FUNCTIONS(ROW){NULL, NULL}};
static const struct function nvml_functions[] = {NVML_FUNCTIONS(ROW){NULL, NULL}};
static const struct function no_functions[] = {{NULL, NULL}};

// ---- looking for a library

// What dlopen said last of a file that is there: more telling than that nothing was found.
struct search {
	const char *soname;
	void *handle;
	char complaint[512];
};

// RTLD_GLOBAL: cuDNN asks for cuBLASLt, and gets the one that is loaded.
static bool open_library(struct search *search, const char *name)
{
	search->handle = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
	return search->handle != NULL;
}

static bool open_in_folder(struct search *search, const char *folder, size_t length)
{
	char path[4096];
	int written = snprintf(path, sizeof(path), "%.*s/%s", (int)length, folder, search->soname);
	if (length == 0 || written < 0 || (size_t)written >= sizeof(path) || access(path, F_OK) != 0)
		return false;
	if (open_library(search, path))
		return true;
	const char *complaint = dlerror();
	snprintf(search->complaint, sizeof(search->complaint), " (%s)",
		 complaint != NULL ? complaint : "cannot load it");
	return false;
}

static bool open_in_folders(struct search *search, const char *folders)
{
	for (const char *folder = folders;;) {
		size_t length = strcspn(folder, ":");
		if (open_in_folder(search, folder, length))
			return true;
		if (folder[length] == '\0')
			return false;
		folder += length + 1;
	}
}

static bool open_in_matching_folders(struct search *search, const char *pattern)
{
	glob_t found;
	bool opened = false;
	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; !opened && i < found.gl_pathc; i++)
			opened = open_in_folder(search, found.gl_pathv[i], strlen(found.gl_pathv[i]));
	globfree(&found);
	return opened;
}

static bool open_among_wheels(struct search *search)
{
	static const char *const patterns[] = {"/usr/local/lib/python3*/*-packages/nvidia/*/lib",
					       "/usr/lib/python3*/*-packages/nvidia/*/lib"};
	const char *environment = getenv("VIRTUAL_ENV");
	char pattern[4096];
	if (environment != NULL && environment[0] != '\0' &&
	    (size_t)snprintf(pattern, sizeof(pattern), "%s/lib/python3*/site-packages/nvidia/*/lib", environment) <
		    sizeof(pattern) &&
	    open_in_matching_folders(search, pattern))
		return true;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (open_in_matching_folders(search, patterns[i]))
			return true;
	return false;
}

static const char *chosen_folders(void)
{
	const char *folders = getenv("PENSTOCK_CUDA_LIBRARY_PATH");
	return folders != NULL && folders[0] != '\0' ? folders : NULL;
}

static bool open_somewhere(struct search *search)
{
	const char *chosen = chosen_folders();
	if (chosen != NULL)
		return open_in_folders(search, chosen);
	return open_library(search, search->soname) ||
	       open_in_folders(search, "/usr/local/cuda/lib64:/usr/local/cuda/targets/x86_64-linux/lib") ||
	       open_among_wheels(search);
}

// The first name that is missing, or NULL.
static const char *find_functions(void *library, const struct function *functions)
{
	for (; functions->name != NULL; functions++) {
		*functions->found = dlsym(library, functions->name);
		if (*functions->found == NULL)
			return functions->name;
	}
	return NULL;
}

// ---- loading

static bool load(const char *title, const char *soname, const char *install, const struct function *functions,
		 struct error *error)
{
	struct search search = {.soname = soname};
	const char *chosen = chosen_folders();
	if (!open_somewhere(&search))
		return error_set(error, ERROR_FAILED,
				 "%s was not found: no %s that loads in %s%s%s; install %s, or name its folder in "
				 "PENSTOCK_CUDA_LIBRARY_PATH",
				 title, soname, chosen != NULL ? "PENSTOCK_CUDA_LIBRARY_PATH=" : "",
				 chosen != NULL ? chosen
						: "the loader's path, /usr/local/cuda or NVIDIA's Python wheels",
				 search.complaint, install);
	const char *missing = find_functions(search.handle, functions);
	if (missing != NULL)
		return error_set(error, ERROR_FAILED, "%s is too old: its %s has no %s; install %s", title, soname,
				 missing, install);
	return true;
}

// The major versions whose headers this was compiled with: their ABI.
#define TEXT(macro)    TEXT_OF(macro)
#define TEXT_OF(value) #value
#define CUDA_MAJOR     TEXT(CUBLAS_VER_MAJOR)
#define CUDNN_PACKAGE  "cuDNN " TEXT(CUDNN_MAJOR) " for CUDA " CUDA_MAJOR

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool loaded;
static struct error load_error;

// cuDNN 9 has one file name for all versions of CUDA. One for another CUDA loads, and fails where it looks for its cuBLASLt.
static bool check_cudnn(struct error *error)
{
	size_t version = cudnnGetVersion(), cuda = cudnnGetCudartVersion();
	Dl_info file;
	if (cuda / 1000 == CUBLAS_VER_MAJOR)
		return true;
	return error_set(error, ERROR_FAILED,
			 "cuDNN %zu.%zu.%zu (%s) is for CUDA %zu; install " CUDNN_PACKAGE
			 ", or name its folder in PENSTOCK_CUDA_LIBRARY_PATH",
			 version / 10000, version % 10000 / 100, version % 100,
			 dladdr((void *)cudnnGetVersion_found, &file) != 0 ? file.dli_fname : "?", cuda / 1000);
}

// Without it there are fewer engines and algorithms, the fused convolutions in 16 bits among those that are missing.
static void load_compiler(void)
{
	struct error error = {0};
	if (!load("NVRTC", "libnvrtc.so." CUDA_MAJOR, "NVRTC of CUDA " CUDA_MAJOR, no_functions, &error))
		log_warning("the fastest convolutions may be missing: %s", error.message);
}

// A library that is loaded stays: its threads and its memory are the process's.
static void load_once(void)
{
	if (!load("cuBLASLt", "libcublasLt.so." CUDA_MAJOR, "cuBLAS of CUDA " CUDA_MAJOR, cublaslt_functions,
		  &load_error))
		return;
	load_compiler();
	loaded = load("cuDNN", "libcudnn.so." TEXT(CUDNN_MAJOR), CUDNN_PACKAGE, cudnn_functions, &load_error) &&
		 check_cudnn(&load_error);
}

bool libraries_load(struct error *error)
{
	pthread_once(&once, load_once);
	return loaded || error_set(error, load_error.code, "%s", load_error.message);
}

static pthread_once_t nccl_once = PTHREAD_ONCE_INIT;
static bool nccl_loaded;

// Its absence is no error: replicas sum their gradients without it.
static void load_nccl_once(void)
{
	struct error error = {0};
	nccl_loaded = load("NCCL", "libnccl.so.2", "NCCL 2.14 or newer", nccl_functions, &error);
	if (!nccl_loaded)
		log_info("replicas on GPUs of this daemon will sum their gradients on the host: %s", error.message);
}

bool libraries_load_nccl(void)
{
	pthread_once(&nccl_once, load_nccl_once);
	return nccl_loaded;
}

static pthread_once_t nvml_once = PTHREAD_ONCE_INIT;
static bool nvml_loaded;

// The driver's, so it is where the driver is: in the loader's path.
static void load_nvml_once(void)
{
	struct search search = {.soname = "libnvidia-ml.so.1"};
	nvml_loaded = open_library(&search, search.soname) && find_functions(search.handle, nvml_functions) == NULL;
}

bool libraries_load_nvml(void)
{
	pthread_once(&nvml_once, load_nvml_once);
	return nvml_loaded;
}
