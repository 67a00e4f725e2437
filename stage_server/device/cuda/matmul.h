// Products of matrices with cuBLASLt, and the algorithms that it offers for a shape. Row-major throughout: C (m, n) = A (m, k)
// B (k, n), where a transposed operand lies as (k, m) or (n, k). Accumulates in float32.
//
// Threads: the program's own, with the device current. Nothing allocates on the device.
#pragma once

#include <cublasLt.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/model/data_type.h"

struct matmul_spec {
	uint32_t m, n, k;
	bool transpose_a, transpose_b;
	enum data_type type;        // of A and B
	enum data_type output_type; // of C: `type`, or float32
	bool add;                   // C += A B
	bool bias, relu;            // C = A B + bias[n] (float32 values of the row), then what is above 0; not with add
	bool allow_tf32;
};

struct matmul;

enum { MATMUL_MAXIMUM_ALGORITHMS = 8 };

// Asks for the algorithms that need no more workspace than `limit_bytes`; at least one, or false: ERROR_FAILED says for which
// shape there is none. Algorithms that split k and add up in no fixed order are left out.
bool matmul_create(cublasLtHandle_t handle, const struct matmul_spec *spec, uint64_t limit_bytes,
		   struct matmul **ret_matmul, struct error *error);
void matmul_destroy(struct matmul *matmul); // takes NULL
uint32_t matmul_count(const struct matmul *matmul);
void matmul_name(const struct matmul *matmul, uint32_t algorithm, char *into,
		 size_t size);                                // the same on every start; no white space
uint64_t matmul_workspace_bytes(const struct matmul *matmul); // of the greediest algorithm
// Issues it; `bias` may be NULL where the spec has none.
bool matmul_run(const struct matmul *matmul, uint32_t algorithm, cudaStream_t stream, const void *a, const void *b,
		const float *bias, void *c, void *workspace, struct error *error);
