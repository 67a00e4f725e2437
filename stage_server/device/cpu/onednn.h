// What this device uses of oneDNN, 2.6 or later; its version shows below this door only (onednn_api.h).
// Layouts are opaque and immutable; a kernel is a primitive with the layouts it asks for. Kernels are made when a
// program is; running one allocates no tensor memory: the caller passes the scratchpad.
//
// Threads: an engine may be shared; a kernel belongs to the thread that runs it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct onednn;
struct layout;
struct kernel;

bool onednn_create(struct onednn **ret_onednn, struct error *error);
void onednn_destroy(struct onednn *onednn);        // takes NULL; after its kernels
void onednn_version(char *into, size_t size);      // "oneDNN 2.6.3"
void onednn_instructions(char *into, size_t size); // "AVX-512"

// Row-major over `dimensions`; returns owned, NULL when memory is out.
struct layout *layout_create_plain(uint32_t rank, const int64_t *dimensions);
// (N, C, H, W) by its dimensions, in memory N, H, W, C and C, N, H, W. As above.
struct layout *layout_create_channels_last(const int64_t dimensions[4]);
struct layout *layout_create_channels_first(const int64_t dimensions[4]);
void layout_destroy(struct layout *layout); // takes NULL
uint64_t layout_bytes(const struct layout *layout);
bool layout_equal(const struct layout *a, const struct layout *b);

enum kernel_argument {
	ARGUMENT_SOURCE,
	ARGUMENT_DESTINATION,
	ARGUMENT_WEIGHTS,
	ARGUMENT_BIAS,
	ARGUMENT_SOURCE_GRADIENT,
	ARGUMENT_DESTINATION_GRADIENT,
	ARGUMENT_WEIGHTS_GRADIENT,
	ARGUMENT_BIAS_GRADIENT,
	ARGUMENT_WORKSPACE,
	ARGUMENT_COUNT,
};

enum kernel_pass { PASS_FORWARD, PASS_BACKWARD_INPUT, PASS_BACKWARD_WEIGHT };

// Of a convolution, or of a max pool (channels == filters); square windows.
struct window_shape {
	int64_t n, channels, height, width, filters, kernel_size, stride, padding, output_height, output_width;
};

// DIRECT is the library's first kernel for the shape, whatever that is; WINOGRAD is F(4x4, 3x3) (Lavin and Gray, 2016), which
// it has for some shapes and processors: fewer multiplications, and roundings of its own.
enum convolution_algorithm { ALGORITHM_DIRECT, ALGORITHM_WINOGRAD, ALGORITHM_COUNT };

// False with *ret_kernel NULL where the library has none. `forward` is the direct kernel of PASS_FORWARD for the other
// passes. Layouts depend on the arguments alone, never on a neighbour.
bool kernel_create_convolution(struct onednn *onednn, enum kernel_pass pass, enum convolution_algorithm algorithm,
			       const struct window_shape *shape, const struct kernel *forward,
			       struct kernel **ret_kernel, struct error *error);
// Source, destination and their gradients have the channels in blocks of a vector where they divide so, else row-major:
// by the shape and the machine only. The workspace is there when training.
// How many channels lie together in the tensors of a max pool.
uint32_t onednn_vector_lanes(int64_t channels);
bool kernel_create_max_pool(struct onednn *onednn, enum kernel_pass pass, const struct window_shape *shape,
			    bool training, const struct kernel *forward, struct kernel **ret_kernel,
			    struct error *error);
// ARGUMENT_SOURCE to ARGUMENT_DESTINATION. *ret_kernel is NULL when the layouts are equal.
bool kernel_create_reorder(struct onednn *onednn, const struct layout *from, const struct layout *to,
			   struct kernel **ret_kernel, struct error *error);
void kernel_destroy(struct kernel *kernel); // takes NULL

const struct layout *kernel_layout(const struct kernel *kernel, enum kernel_argument argument); // borrowed
uint64_t kernel_scratchpad_bytes(const struct kernel *kernel);                                  // takes NULL
const char *kernel_name(const struct kernel *kernel); // the library's, "jit:avx2"; borrowed

// `pointers` by argument; false is a fault of the library.
bool kernel_run(struct kernel *kernel, void *scratchpad, void *const pointers[ARGUMENT_COUNT]);

// Row-major C (m, n) = A (m, k) B (k, n) + beta C, either one transposed.
bool onednn_sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
		  const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
