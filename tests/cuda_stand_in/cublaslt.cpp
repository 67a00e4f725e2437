// A stand-in for cuBLASLt: descriptors that hold what is set, checked as strictly as cuBLASLt is documented to check it, and products
// on the CPU, in float32, on the stream. Its algorithms are made up: one without a workspace, one that splits k and has one, and
// some that a careful caller does not take. Matrices are column-major; batches, scales and epilogues are not there.
#include <cublasLt.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/cuda_stand_in/elements.hpp"
#include "tests/cuda_stand_in/stand_in.hpp"

// The headers name these structures and leave them opaque; each begins with a mark, by which what was destroyed, or is something
// else, is found out.
namespace
{
enum : uint32_t { OPERATION = 0x6f706572, LAYOUT = 0x6c61796f, PREFERENCE = 0x70726566, HANDLE = 0x68616e64 };

struct operation {
	uint32_t mark = OPERATION;
	cublasComputeType_t compute;
	cudaDataType_t scale;
	int32_t transpose[2] = {CUBLAS_OP_N, CUBLAS_OP_N};
};

struct layout {
	uint32_t mark = LAYOUT;
	cudaDataType type;
	uint64_t rows, columns;
	int64_t leading;
};

struct preference {
	uint32_t mark = PREFERENCE;
	uint64_t workspace_bytes = 0;
	uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
	uint32_t alignment[4] = {256, 256, 256, 256};
};

// What stands in a cublasLtMatmulAlgo_t.
struct algorithm {
	uint32_t id, tile, split, scheme;
	uint64_t workspace_bytes, flags;
	uint32_t alignment[4];
};
static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm fits its place");

template <typename T, typename H> T *checked(H handle, uint32_t mark)
{
	T *found = reinterpret_cast<T *>(handle);
	return found != nullptr && found->mark == mark ? found : nullptr;
}

template <typename T, typename H> cublasStatus_t destroy(H handle, uint32_t mark)
{
	T *found = checked<T>(handle, mark);
	if (found == nullptr)
		return CUBLAS_STATUS_INVALID_VALUE;
	found->mark = 0;
	delete found;
	return CUBLAS_STATUS_SUCCESS;
}

template <typename T> cublasStatus_t take(T *into, const void *value, size_t size)
{
	if (value == nullptr || size != sizeof(T))
		return CUBLAS_STATUS_INVALID_VALUE;
	std::memcpy(into, value, size);
	return CUBLAS_STATUS_SUCCESS;
}

template <typename T> cublasStatus_t give(T value, void *into, size_t size, size_t *written)
{
	if (into == nullptr || size != sizeof(T))
		return CUBLAS_STATUS_INVALID_VALUE;
	std::memcpy(into, &value, size);
	if (written != nullptr)
		*written = size;
	return CUBLAS_STATUS_SUCCESS;
}

elements::type type_of(cudaDataType type)
{
	return type == CUDA_R_16F    ? elements::type::float16
	       : type == CUDA_R_16BF ? elements::type::bfloat16
				     : elements::type::float32;
}

// The table of types under cublasLtMatmul(): A and B of one type, C and D of one, theirs or float32.
cublasStatus_t check_types(const operation &operation, const layout &a, const layout &b, const layout &c,
			   const layout &d)
{
	if (operation.scale != CUDA_R_32F ||
	    (operation.compute != CUBLAS_COMPUTE_32F && operation.compute != CUBLAS_COMPUTE_32F_FAST_TF32))
		return CUBLAS_STATUS_NOT_SUPPORTED;
	if (operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && a.type != CUDA_R_32F)
		return CUBLAS_STATUS_NOT_SUPPORTED;
	if (a.type != b.type || c.type != d.type || (d.type != a.type && d.type != CUDA_R_32F))
		return CUBLAS_STATUS_NOT_SUPPORTED;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t check_shapes(const operation &operation, const layout &a, const layout &b, const layout &c,
			    const layout &d)
{
	bool turn_a = operation.transpose[0] == CUBLAS_OP_T, turn_b = operation.transpose[1] == CUBLAS_OP_T;
	uint64_t m = turn_a ? a.columns : a.rows, k = turn_a ? a.rows : a.columns;
	if ((turn_b ? b.columns : b.rows) != k || (turn_b ? b.rows : b.columns) != d.columns || d.rows != m ||
	    c.rows != d.rows || c.columns != d.columns || c.leading != d.leading)
		return CUBLAS_STATUS_INVALID_VALUE;
	return CUBLAS_STATUS_SUCCESS;
}

void offer(const algorithm &algorithm, const preference &preference, int room, cublasLtMatmulHeuristicResult_t *results,
	   int *count)
{
	bool allowed =
		algorithm.scheme == CUBLASLT_REDUCTION_SCHEME_NONE || (algorithm.scheme & preference.schemes) != 0;
	if (!allowed || algorithm.workspace_bytes > preference.workspace_bytes || *count == room)
		return;
	cublasLtMatmulHeuristicResult_t &result = results[(*count)++];
	std::memset(&result, 0, sizeof(result));
	std::memcpy(&result.algo, &algorithm, sizeof(algorithm));
	result.workspaceSize = algorithm.workspace_bytes;
	result.wavesCount = 1.0f;
}

// ---- computing

// Column by column, or, turned, row by row: then a block of columns at once, whose elements of a row lie side by side in `into`.
std::unique_ptr<float[]> read_matrix(const layout &layout, const void *from, bool turned)
{
	uint64_t block = turned ? 16 : 1;
	std::unique_ptr<float[]> into(new float[layout.rows * layout.columns]);
	elements::type type = type_of(layout.type);
	for (uint64_t first = 0; first < layout.columns; first += block) {
		uint64_t end = std::min(first + block, layout.columns);
		if (!turned)
			for (uint64_t row = 0; row < layout.rows; row++)
				into[first * layout.rows + row] = elements::load(type, from, first * layout.leading + row);
		else
			for (uint64_t row = 0; row < layout.rows; row++)
				for (uint64_t column = first; column < end; column++)
					into[row * layout.columns + column] =
						elements::load(type, from, column * layout.leading + row);
	}
	return into;
}

struct product {
	operation op;
	layout a_layout, b_layout, d_layout;
	const void *a, *b;
	void *d;
	float alpha, beta;
};

// D = alpha A B + beta D, column by column; beta 0 reads nothing of D, whatever it holds.
void multiply(const product &p)
{
	bool turn_a = p.op.transpose[0] == CUBLAS_OP_T, turn_b = p.op.transpose[1] == CUBLAS_OP_T;
	std::unique_ptr<float[]> a = read_matrix(p.a_layout, p.a, turn_a), b = read_matrix(p.b_layout, p.b, turn_b);
	uint64_t m = p.d_layout.rows, n = p.d_layout.columns, k = turn_a ? p.a_layout.rows : p.a_layout.columns;
	std::vector<float> sums(m);
	for (uint64_t column = 0; column < n; column++) {
		std::fill(sums.begin(), sums.end(), 0.0f);
		for (uint64_t i = 0; i < k; i++)
			for (uint64_t row = 0; row < m; row++)
				sums[row] += a[i * m + row] * b[column * k + i];
		for (uint64_t row = 0; row < m; row++) {
			uint64_t place = column * p.d_layout.leading + row;
			float value = p.alpha * sums[row];
			if (p.beta != 0.0f)
				value += p.beta * elements::load(type_of(p.d_layout.type), p.d, place);
			elements::store(type_of(p.d_layout.type), p.d, place, value);
		}
	}
}

bool is_aligned(const void *memory, size_t bytes)
{
	return (uintptr_t)memory % bytes == 0;
}
} // namespace

// ---- the vendor's functions

size_t cublasLtGetVersion(void)
{
	return CUBLAS_VERSION;
}

const char *cublasLtGetStatusName(cublasStatus_t status)
{
	return status == CUBLAS_STATUS_SUCCESS         ? "CUBLAS_STATUS_SUCCESS"
	       : status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
						       : "CUBLAS_STATUS_INVALID_VALUE";
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
	return status == CUBLAS_STATUS_SUCCESS ? "success" : "the stand-in refuses it";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
	*handle = reinterpret_cast<cublasLtHandle_t>(new uint32_t(HANDLE));
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
	delete reinterpret_cast<uint32_t *>(handle);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *ret, cublasComputeType_t compute, cudaDataType_t scale)
{
	operation *made = new operation;
	made->compute = compute;
	made->scale = scale;
	*ret = reinterpret_cast<cublasLtMatmulDesc_t>(made);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle)
{
	return destroy<operation>(handle, OPERATION);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle, cublasLtMatmulDescAttributes_t name,
					      const void *value, size_t size)
{
	operation *into = checked<operation>(handle, OPERATION);
	if (into == nullptr)
		return CUBLAS_STATUS_INVALID_VALUE;
	switch (name) {
	case CUBLASLT_MATMUL_DESC_TRANSA:
		return take(&into->transpose[0], value, size);
	case CUBLASLT_MATMUL_DESC_TRANSB:
		return take(&into->transpose[1], value, size);
	default:
		return CUBLAS_STATUS_INVALID_VALUE;
	}
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *ret, cudaDataType type, uint64_t rows,
					  uint64_t columns, int64_t leading)
{
	if (rows == 0 || columns == 0 || leading < (int64_t)rows)
		return CUBLAS_STATUS_INVALID_VALUE;
	layout *made = new layout;
	made->type = type;
	made->rows = rows;
	made->columns = columns;
	made->leading = leading;
	*ret = reinterpret_cast<cublasLtMatrixLayout_t>(made);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle)
{
	return destroy<layout>(handle, LAYOUT);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *ret)
{
	*ret = reinterpret_cast<cublasLtMatmulPreference_t>(new preference);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle)
{
	return destroy<preference>(handle, PREFERENCE);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
						    cublasLtMatmulPreferenceAttributes_t name, const void *value,
						    size_t size)
{
	preference *into = checked<preference>(handle, PREFERENCE);
	if (into == nullptr)
		return CUBLAS_STATUS_INVALID_VALUE;
	switch (name) {
	case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
		return take(&into->workspace_bytes, value, size);
	case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
		return take(&into->schemes, value, size);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
		return take(&into->alignment[0], value, size);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
		return take(&into->alignment[1], value, size);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
		return take(&into->alignment[2], value, size);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
		return take(&into->alignment[3], value, size);
	default:
		return CUBLAS_STATUS_INVALID_VALUE;
	}
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation_handle,
					      cublasLtMatrixLayout_t a_handle, cublasLtMatrixLayout_t b_handle,
					      cublasLtMatrixLayout_t c_handle, cublasLtMatrixLayout_t d_handle,
					      cublasLtMatmulPreference_t preference_handle, int room,
					      cublasLtMatmulHeuristicResult_t results[], int *ret_count)
{
	const operation *op = checked<operation>(operation_handle, OPERATION);
	const layout *a = checked<layout>(a_handle, LAYOUT), *b = checked<layout>(b_handle, LAYOUT),
		     *c = checked<layout>(c_handle, LAYOUT), *d = checked<layout>(d_handle, LAYOUT);
	const preference *asked = checked<preference>(preference_handle, PREFERENCE);
	if (handle == nullptr || op == nullptr || a == nullptr || b == nullptr || c == nullptr || d == nullptr ||
	    asked == nullptr || room <= 0)
		return CUBLAS_STATUS_INVALID_VALUE;
	cublasStatus_t status = check_shapes(*op, *a, *b, *c, *d);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = check_types(*op, *a, *b, *c, *d);
	if (status != CUBLAS_STATUS_SUCCESS)
		return status;
	uint64_t input = a->type == CUDA_R_16F                         ? CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F
			 : a->type == CUDA_R_16BF                      ? CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF
			 : op->compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32
								       : CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_32F;
	uint64_t flags = input | CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA | CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_32F;
	uint64_t half_flags =
		input | CUBLASLT_NUMERICAL_IMPL_FLAGS_HMMA | CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_16F;
	uint64_t partial_bytes = d->rows * d->columns * 2 * sizeof(float);
	const algorithm offers[] = {
		{90, 1, 2, CUBLASLT_REDUCTION_SCHEME_INPLACE, 0, flags, {}},
		{91, 1, 2, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE, 0, flags, {}},
		{92, 1, 1, CUBLASLT_REDUCTION_SCHEME_NONE, 0, half_flags, {}},
		{66, 15, 1, CUBLASLT_REDUCTION_SCHEME_NONE, 0, flags, {}},
		{66, 15, 1, CUBLASLT_REDUCTION_SCHEME_NONE, 0, flags, {}}, // once more
		{21, 20, 2, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, partial_bytes, flags, {}},
	};
	*ret_count = 0;
	for (algorithm algorithm : offers) {
		std::copy(asked->alignment, asked->alignment + 4, algorithm.alignment);
		offer(algorithm, *asked, room, results, ret_count);
	}
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
						    cublasLtMatmulAlgoConfigAttributes_t name, void *ret, size_t size,
						    size_t *written)
{
	algorithm from;
	std::memcpy(&from, algo, sizeof(from));
	switch (name) {
	case CUBLASLT_ALGO_CONFIG_ID:
		return give((int32_t)from.id, ret, size, written);
	case CUBLASLT_ALGO_CONFIG_TILE_ID:
		return give(from.tile, ret, size, written);
	case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
		return give((int32_t)from.split, ret, size, written);
	case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
		return give(from.scheme, ret, size, written);
	case CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING:
	case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION:
	case CUBLASLT_ALGO_CONFIG_STAGES_ID:
		return give((uint32_t)0, ret, size, written);
	case CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID:
	case CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID:
		return give((uint16_t)0, ret, size, written);
	default:
		return CUBLAS_STATUS_INVALID_VALUE;
	}
}

cublasStatus_t cublasLtMatmulAlgoCapGetAttribute(const cublasLtMatmulAlgo_t *algo,
						 cublasLtMatmulAlgoCapAttributes_t name, void *ret, size_t size,
						 size_t *written)
{
	algorithm from;
	std::memcpy(&from, algo, sizeof(from));
	if (name != CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS)
		return CUBLAS_STATUS_INVALID_VALUE;
	return give(from.flags, ret, size, written);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation_handle, const void *alpha,
			      const void *a, cublasLtMatrixLayout_t a_handle, const void *b,
			      cublasLtMatrixLayout_t b_handle, const void *beta, const void *c,
			      cublasLtMatrixLayout_t c_handle, void *d, cublasLtMatrixLayout_t d_handle,
			      const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes,
			      cudaStream_t stream)
{
	const operation *op = checked<operation>(operation_handle, OPERATION);
	const layout *a_layout = checked<layout>(a_handle, LAYOUT), *b_layout = checked<layout>(b_handle, LAYOUT),
		     *c_layout = checked<layout>(c_handle, LAYOUT), *d_layout = checked<layout>(d_handle, LAYOUT);
	if (handle == nullptr || op == nullptr || a_layout == nullptr || b_layout == nullptr || c_layout == nullptr ||
	    d_layout == nullptr || alpha == nullptr || beta == nullptr || a == nullptr || b == nullptr || c != d ||
	    d == nullptr || algo == nullptr)
		return CUBLAS_STATUS_INVALID_VALUE;
	cublasStatus_t status = check_shapes(*op, *a_layout, *b_layout, *c_layout, *d_layout);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = check_types(*op, *a_layout, *b_layout, *c_layout, *d_layout);
	if (status != CUBLAS_STATUS_SUCCESS)
		return status;
	algorithm chosen;
	std::memcpy(&chosen, algo, sizeof(chosen));
	if (chosen.id >= 90 || workspace_bytes < chosen.workspace_bytes ||
	    (chosen.workspace_bytes > 0 && workspace == nullptr) || !is_aligned(a, chosen.alignment[0]) ||
	    !is_aligned(b, chosen.alignment[1]) || !is_aligned(d, chosen.alignment[3]))
		return CUBLAS_STATUS_INVALID_VALUE;
	product product = {*op, *a_layout, *b_layout, *d_layout, a, b, d, *(const float *)alpha, *(const float *)beta};
	// As cuBLASLt's kernels: one for each configuration.
	stand_in_load((const void *)((uintptr_t)chosen.id << 48 | (uintptr_t)chosen.tile << 32 |
				     (uintptr_t)chosen.split << 16 | (uintptr_t)op->transpose[0] << 1 |
				     (uintptr_t)op->transpose[1]));
	bool issued = stand_in_enqueue(stream, [product, workspace, bytes = chosen.workspace_bytes] {
		if (bytes > 0)
			std::memset(workspace, 0xa5, bytes);
		multiply(product);
	});
	return issued ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
