// Products of matrices with cuBLASLt. See matmul.h.
//
// cuBLASLt's matrices are column-major here, which all its algorithms know: a row-major (m, n) is a column-major (n, m), so C = A B
// becomes C' = B' A', and our B is its first operand (cuBLAS Library, cublasLtMatmul()).
//
// Bias and ReLU are a pass of the device's own kernels, and no epilogue of cuBLASLt's: that takes a bias of the result's own type
// (CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE), where ours is float32 whatever the result is, aligned as its fastest algorithms want it;
// and what is no number must get through the ReLU. The pass is over C alone, which is small beside what A and B cost.
#include "stage_server/device/cuda/matmul.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/status.h"

// Of every pointer, bytes: what the algorithms are asked for. A program's memory is cut at coarser steps; how far apart the rows
// of an odd-sized matrix lie, cuBLASLt sees in its layout.
enum { ALIGNMENT = 16 };

// Each algorithm is timed by the caller, so the heuristics are asked for more than are kept: some are refused, some are the same.
enum { MAXIMUM_ASKED = 24 };

struct algorithm {
	cublasLtMatmulAlgo_t algorithm;
	uint64_t workspace_bytes;
	char name[128];
};

struct matmul {
	cublasLtHandle_t handle;
	struct matmul_spec spec;
	cublasLtMatmulDesc_t operation;
	cublasLtMatrixLayout_t first, second, result; // B, A, C
	struct algorithm algorithms[MATMUL_MAXIMUM_ALGORITHMS];
	uint32_t count;
};

static cudaDataType_t vendor_type(enum data_type type)
{
	return type == DATA_BFLOAT16 ? CUDA_R_16BF : type == DATA_FLOAT16 ? CUDA_R_16F : CUDA_R_32F;
}

// ---- describing

static bool describe_operand(cublasLtMatrixLayout_t *ret, enum data_type type, uint32_t rows, uint32_t columns,
			     struct error *error)
{
	// Row-major (rows, columns), so column-major (columns, rows).
	return cublas_ok(cublasLtMatrixLayoutCreate(ret, vendor_type(type), columns, rows, columns), error,
			 "describe a matrix (%u, %u)", rows, columns);
}

static bool set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t name, const void *value, size_t size,
		struct error *error)
{
	return cublas_ok(cublasLtMatmulDescSetAttribute(operation, name, value, size), error,
			 "set attribute %d of a product", name);
}

static bool describe(struct matmul *matmul, struct error *error)
{
	const struct matmul_spec *spec = &matmul->spec;
	bool tf32 = spec->type == DATA_FLOAT32 && spec->allow_tf32;
	int32_t first = spec->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
	int32_t second = spec->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
	if (!cublas_ok(cublasLtMatmulDescCreate(&matmul->operation,
						tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
		       error, "describe a product") ||
	    !set(matmul->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof(first), error) ||
	    !set(matmul->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof(second), error))
		return false;
	return describe_operand(&matmul->first, spec->type, spec->transpose_b ? spec->n : spec->k,
				spec->transpose_b ? spec->k : spec->n, error) &&
	       describe_operand(&matmul->second, spec->type, spec->transpose_a ? spec->k : spec->m,
				spec->transpose_a ? spec->m : spec->k, error) &&
	       describe_operand(&matmul->result, spec->output_type, spec->m, spec->n, error);
}

// ---- algorithms

// A product split along k is added up by a pass of its own, in float32 and in order (COMPUTE_TYPE). Left out: INPLACE, where the
// parts add to the result as they come, and OUTPUT_TYPE, which rounds them to the result's type in between.
static bool describe_preference(uint64_t limit_bytes, cublasLtMatmulPreference_t *ret, struct error *error)
{
	static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
		CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
		CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
	uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, alignment = ALIGNMENT;
	cublasStatus_t status = cublasLtMatmulPreferenceCreate(ret);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = cublasLtMatmulPreferenceSetAttribute(*ret, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
							      &limit_bytes, sizeof(limit_bytes));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = cublasLtMatmulPreferenceSetAttribute(*ret, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
							      &schemes, sizeof(schemes));
	for (size_t i = 0; status == CUBLAS_STATUS_SUCCESS && i < sizeof(alignments) / sizeof(alignments[0]); i++)
		status = cublasLtMatmulPreferenceSetAttribute(*ret, alignments[i], &alignment, sizeof(alignment));
	return cublas_ok(status, error, "describe the allowed algorithms of a product");
}

// 0 where the algorithm does not say. Attributes are of 2, 4 or 8 bytes, little endian as all that CUDA runs on.
static uint64_t configured(const cublasLtMatmulAlgo_t *algorithm, cublasLtMatmulAlgoConfigAttributes_t name,
			   size_t bytes)
{
	uint64_t value = 0;
	size_t written = 0;
	if (cublasLtMatmulAlgoConfigGetAttribute(algorithm, name, &value, bytes, &written) != CUBLAS_STATUS_SUCCESS)
		return 0;
	return value;
}

// What the preference and the compute type ask for already; asked again of what comes back, for the promise is ours.
static bool is_allowed(const struct matmul *matmul, const cublasLtMatmulAlgo_t *algorithm)
{
	uint64_t scheme = configured(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, sizeof(uint32_t));
	if (scheme != CUBLASLT_REDUCTION_SCHEME_NONE && scheme != CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)
		return false;
	uint64_t flags = 0;
	size_t written = 0;
	if (cublasLtMatmulAlgoCapGetAttribute(algorithm, CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS, &flags, sizeof(flags),
					      &written) != CUBLAS_STATUS_SUCCESS)
		return true;
	if ((flags & CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_16F) != 0)
		return false;
	if (matmul->spec.type != DATA_FLOAT32)
		return true;
	uint64_t narrow = CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F | CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF;
	if (!matmul->spec.allow_tf32)
		narrow |= CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32;
	return (flags & narrow) == 0;
}

static void name_algorithm(struct algorithm *into)
{
	const cublasLtMatmulAlgo_t *from = &into->algorithm;
	snprintf(into->name, sizeof(into->name),
		 "algorithm_%u.tile=%u.stages=%u.split=%u.scheme=%u.swizzle=%u.custom=%u.inner=%u.cluster=%u",
		 (unsigned)configured(from, CUBLASLT_ALGO_CONFIG_ID, sizeof(int32_t)),
		 (unsigned)configured(from, CUBLASLT_ALGO_CONFIG_TILE_ID, sizeof(uint32_t)),
		 (unsigned)configured(from, CUBLASLT_ALGO_CONFIG_STAGES_ID, sizeof(uint32_t)),
		 (unsigned)configured(from, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, sizeof(int32_t)),
		 (unsigned)configured(from, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, sizeof(uint32_t)),
		 (unsigned)configured(from, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, sizeof(uint32_t)),
		 (unsigned)configured(from, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, sizeof(uint32_t)),
		 (unsigned)configured(from, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, sizeof(uint16_t)),
		 (unsigned)configured(from, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, sizeof(uint16_t)));
}

static void keep(struct matmul *matmul, const cublasLtMatmulHeuristicResult_t *result, uint64_t limit_bytes)
{
	if (matmul->count == MATMUL_MAXIMUM_ALGORITHMS || result->state != CUBLAS_STATUS_SUCCESS ||
	    result->workspaceSize > limit_bytes || !is_allowed(matmul, &result->algo))
		return;
	struct algorithm *algorithm = &matmul->algorithms[matmul->count];
	algorithm->algorithm = result->algo;
	algorithm->workspace_bytes = result->workspaceSize;
	name_algorithm(algorithm);
	for (uint32_t i = 0; i < matmul->count; i++)
		if (strcmp(matmul->algorithms[i].name, algorithm->name) == 0)
			return;
	matmul->count++;
}

static bool find_algorithms(struct matmul *matmul, uint64_t limit_bytes, struct error *error)
{
	cublasLtMatmulPreference_t preference = NULL;
	cublasLtMatmulHeuristicResult_t results[MAXIMUM_ASKED];
	int count = 0;
	bool ok = describe_preference(limit_bytes, &preference, error) &&
		  cublas_ok(cublasLtMatmulAlgoGetHeuristic(matmul->handle, matmul->operation, matmul->first,
							   matmul->second, matmul->result, matmul->result, preference,
							   MAXIMUM_ASKED, results, &count),
			    error, "query algorithms");
	if (preference != NULL)
		cublasLtMatmulPreferenceDestroy(preference);
	for (int i = 0; ok && i < count; i++)
		keep(matmul, &results[i], limit_bytes);
	if (ok && matmul->count == 0)
		return error_set(error, ERROR_FAILED, "none is deterministic within %llu bytes of workspace",
				 (unsigned long long)limit_bytes);
	return ok;
}

bool matmul_create(cublasLtHandle_t handle, const struct matmul_spec *spec, uint64_t limit_bytes,
		   struct matmul **ret_matmul, struct error *error)
{
	struct matmul *matmul = calloc(1, sizeof(*matmul));
	if (matmul == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for a product");
	matmul->handle = handle;
	matmul->spec = *spec;
	if (!describe(matmul, error) || !find_algorithms(matmul, limit_bytes, error)) {
		matmul_destroy(matmul);
		return error_wrap(error,
				  "cuBLASLt has no algorithm for the %s product (%u, %u) = (%u, %u)%s (%u, %u)%s",
				  data_type_name(spec->type), spec->m, spec->n, spec->m, spec->k,
				  spec->transpose_a ? " transposed" : "", spec->k, spec->n,
				  spec->transpose_b ? " transposed" : "");
	}
	*ret_matmul = matmul;
	return true;
}

void matmul_destroy(struct matmul *matmul)
{
	if (matmul == NULL)
		return;
	if (matmul->result != NULL)
		cublasLtMatrixLayoutDestroy(matmul->result);
	if (matmul->second != NULL)
		cublasLtMatrixLayoutDestroy(matmul->second);
	if (matmul->first != NULL)
		cublasLtMatrixLayoutDestroy(matmul->first);
	if (matmul->operation != NULL)
		cublasLtMatmulDescDestroy(matmul->operation);
	free(matmul);
}

uint32_t matmul_count(const struct matmul *matmul)
{
	return matmul->count;
}

void matmul_name(const struct matmul *matmul, uint32_t algorithm, char *into, size_t size)
{
	snprintf(into, size, "%s", matmul->algorithms[algorithm].name);
}

uint64_t matmul_workspace_bytes(const struct matmul *matmul)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < matmul->count; i++)
		if (matmul->algorithms[i].workspace_bytes > bytes)
			bytes = matmul->algorithms[i].workspace_bytes;
	return bytes;
}

// ---- running

static bool is_aligned(const void *memory)
{
	return (uintptr_t)memory % ALIGNMENT == 0;
}

bool matmul_run(const struct matmul *matmul, uint32_t algorithm, cudaStream_t stream, const void *a, const void *b,
		const float *bias, void *c, void *workspace, struct error *error)
{
	const struct matmul_spec *spec = &matmul->spec;
	const struct algorithm *chosen = &matmul->algorithms[algorithm];
	if (!is_aligned(a) || !is_aligned(b) || !is_aligned(c))
		return error_set(error, ERROR_FAILED, "a matrix of a product is not aligned to %d bytes", ALIGNMENT);
	const float alpha = 1.0f, beta = spec->add ? 1.0f : 0.0f; // 0: what C held is not read
	if (!cublas_ok(cublasLtMatmul(matmul->handle, matmul->operation, &alpha, b, matmul->first, a, matmul->second,
				      &beta, c, matmul->result, c, matmul->result, &chosen->algorithm, workspace,
				      chosen->workspace_bytes, stream),
		       error, "multiply (%u, %u) = (%u, %u) (%u, %u)", spec->m, spec->n, spec->m, spec->k, spec->k,
		       spec->n))
		return false;
	if (spec->bias)
		return cuda_ok(kernel_bias(stream, spec->output_type, spec->m, spec->n, bias, spec->relu, c), error,
			       "add the bias of a product");
	return !spec->relu || cuda_ok(kernel_relu(stream, spec->output_type, (uint64_t)spec->m * spec->n, c), error,
				      "apply ReLU to a product");
}
