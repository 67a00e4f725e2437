// The vendor's libraries: all functions that the device calls are in the real ones, where these are installed (no GPU is needed
// for that), and where they are not, the message says what to do. Each case is a process of its own, since a process loads once.
#include "tests/unit/cmocka_all.h"

#include <cublasLt.h>
#include <cudnn.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stage_server/device/cuda/libraries.h"
#include "stage_server/device/cuda/nccl.h"
#include "stage_server/device/cuda/nvml.h"

// What a case found, told by the exit status of its process.
enum { FINE = 0, WRONG = 1, NOT_INSTALLED = 77 };

static int in_a_process(int (*function)(void))
{
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		int status = function();
		fflush(NULL);
		_exit(status);
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int load_and_call(void)
{
	struct error error = {0};
	unsetenv("PENSTOCK_CUDA_LIBRARY_PATH");
	if (!libraries_load(&error)) {
		printf("[  SKIPPED ] the real libraries: %s\n", error.message);
		return strstr(error.message, "was not found") != NULL ? NOT_INSTALLED : WRONG;
	}
	printf("cuDNN %zu, cuBLASLt %zu\n", cudnnGetVersion(), cublasLtGetVersion());
	// One call through each: a descriptor needs no device.
	cudnnBackendDescriptor_t tensor = NULL;
	cublasLtMatrixLayout_t layout = NULL;
	if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &tensor) != CUDNN_STATUS_SUCCESS ||
	    cudnnBackendDestroyDescriptor(tensor) != CUDNN_STATUS_SUCCESS ||
	    cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 3, 5, 3) != CUBLAS_STATUS_SUCCESS ||
	    cublasLtMatrixLayoutDestroy(layout) != CUBLAS_STATUS_SUCCESS)
		return WRONG;
	// What cuDNN will ask the loader for is loaded, unless it is not installed.
	char compiler[64];
	snprintf(compiler, sizeof(compiler), "libnvrtc.so.%d", CUBLAS_VER_MAJOR);
	if (dlopen(compiler, RTLD_NOW | RTLD_NOLOAD) == NULL && dlopen(compiler, RTLD_NOW) != NULL)
		return WRONG;
	bool as_built = cudnnGetVersion() / 10000 == CUDNN_MAJOR && cublasLtGetVersion() / 10000 == CUBLAS_VER_MAJOR;
	return as_built && libraries_load(NULL) ? FINE : WRONG;
}

static void libraries_load_finds_every_function(void **state)
{
	int status = in_a_process(load_and_call);
	if (status == NOT_INSTALLED)
		skip();
	assert_int_equal(status, FINE);
}

static int load_nccl(void)
{
	int version = 0;
	unsetenv("PENSTOCK_CUDA_LIBRARY_PATH");
	if (!libraries_load_nccl())
		return NOT_INSTALLED;
	if (ncclGetVersion(&version) != NCCL_SUCCESS || version < NCCL_CONFIG_VERSION)
		return WRONG;
	printf("NCCL %d\n", version);
	return strcmp(ncclGetErrorString(NCCL_SUCCESS), "no error") == 0 && ncclGetLastError(NULL) != NULL ? FINE
													   : WRONG;
}

static void libraries_load_nccl_finds_every_function(void **state)
{
	int status = in_a_process(load_nccl);
	if (status == NOT_INSTALLED)
		skip();
	assert_int_equal(status, FINE);
}

static int load_no_nccl(void)
{
	setenv("PENSTOCK_CUDA_LIBRARY_PATH", "/nowhere/at/all", 1);
	return libraries_load_nccl() || libraries_load_nccl() ? WRONG : FINE;
}

static void libraries_load_nccl_without_it_says_no(void **state)
{
	assert_int_equal(in_a_process(load_no_nccl), FINE);
}

static bool says(const char *text, const char *part)
{
	if (strstr(text, part) != NULL)
		return true;
	printf("\"%s\" does not say \"%s\"\n", text, part);
	return false;
}

static int load_from_an_empty_folder(void)
{
	struct error error = {0}, again = {0};
	setenv("PENSTOCK_CUDA_LIBRARY_PATH", "/nowhere/at/all:/", 1);
	if (libraries_load(&error) || libraries_load(&again) || error.code != ERROR_FAILED)
		return WRONG;
	bool told = says(error.message, "libcublasLt.so.") &&
		    says(error.message, "PENSTOCK_CUDA_LIBRARY_PATH=/nowhere/at/all:/") &&
		    says(error.message, "install cuBLAS of CUDA ");
	return told && strcmp(error.message, again.message) == 0 ? FINE : WRONG;
}

static void libraries_load_without_them_says_what_to_install(void **state)
{
	assert_int_equal(in_a_process(load_from_an_empty_folder), FINE);
}

// A file of the right name that is no library: what the loader says of it is told.
static int load_what_is_no_library(void)
{
	struct error error = {0};
	char folder[] = "/tmp/penstock-libraries-XXXXXX", file[128];
	if (mkdtemp(folder) == NULL)
		return WRONG;
	snprintf(file, sizeof(file), "%s/libcublasLt.so.%d", folder, CUBLAS_VER_MAJOR);
	FILE *stream = fopen(file, "w");
	if (stream == NULL)
		return WRONG;
	fputs("no library\n", stream);
	fclose(stream);
	setenv("PENSTOCK_CUDA_LIBRARY_PATH", folder, 1);
	bool told = !libraries_load(&error) && says(error.message, file) && says(error.message, "that loads in");
	unlink(file);
	rmdir(folder);
	return told ? FINE : WRONG;
}

static void libraries_load_of_a_broken_one_says_why(void **state)
{
	assert_int_equal(in_a_process(load_what_is_no_library), FINE);
}

static bool link_as(const char *folder, const char *soname, char *ret_path, size_t size)
{
	snprintf(ret_path, size, "%s/%s", folder, soname);
	return symlink(PENSTOCK_TEST_OTHER_CUDNN, ret_path) == 0;
}

// It has the same name, and all functions.
static int load_cudnn_for_another_cuda(void)
{
	struct error error = {0};
	char folder[] = "/tmp/penstock-libraries-XXXXXX", cudnn[128], cublaslt[128], soname[64];
	if (mkdtemp(folder) == NULL)
		return WRONG;
	snprintf(soname, sizeof(soname), "libcublasLt.so.%d", CUBLAS_VER_MAJOR);
	bool made = link_as(folder, soname, cublaslt, sizeof(cublaslt));
	snprintf(soname, sizeof(soname), "libcudnn.so.%d", CUDNN_MAJOR);
	made = link_as(folder, soname, cudnn, sizeof(cudnn)) && made;
	setenv("PENSTOCK_CUDA_LIBRARY_PATH", folder, 1);
	bool told = made && !libraries_load(&error) && says(error.message, "cuDNN 9.19.0 (") &&
		    says(error.message, folder) && says(error.message, "is for CUDA 12; install cuDNN ");
	unlink(cudnn);
	unlink(cublaslt);
	rmdir(folder);
	return told ? FINE : WRONG;
}

static void libraries_load_of_a_cudnn_for_another_cuda_says_so(void **state)
{
	assert_int_equal(in_a_process(load_cudnn_for_another_cuda), FINE);
}

static void nvml_sample_without_such_a_gpu_says_nothing(void **state)
{
	struct device_sample sample = {1, 2, 3, 4, 5};
	struct nvml_gpu gpu;
	const uint8_t uuid[16] = {0};
	nvml_find("ffff:ff:1f.7", uuid, &gpu);
	nvml_sample(&gpu, &sample);
	assert_true(isnan(sample.memory_used_bytes) && isnan(sample.memory_free_bytes) && isnan(sample.utilisation) &&
		    isnan(sample.temperature_celsius) && isnan(sample.power_watts));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libraries_load_finds_every_function),
		cmocka_unit_test(libraries_load_nccl_finds_every_function),
		cmocka_unit_test(libraries_load_nccl_without_it_says_no),
		cmocka_unit_test(libraries_load_without_them_says_what_to_install),
		cmocka_unit_test(libraries_load_of_a_broken_one_says_why),
		cmocka_unit_test(libraries_load_of_a_cudnn_for_another_cuda_says_so),
		cmocka_unit_test(nvml_sample_without_such_a_gpu_says_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
