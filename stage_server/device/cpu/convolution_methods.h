// The ways in which the passes of a convolution of one shape can be computed, from the shape alone; a ReLU behind it is another
// pass. All methods of one pass take and give the same layouts; im2col alone gives the weight gradient in a layout of its own.
// Threads: that of the program.
#pragma once

#include "stage_server/device/cpu/im2col.h"
#include "stage_server/device/cpu/onednn.h"

enum convolution_method { METHOD_DIRECT, METHOD_WINOGRAD, METHOD_IM2COL, METHOD_COUNT };
enum { METHOD_NAME_SIZE = 160 };

struct convolution_methods {
	struct window_shape shape;
	struct kernel *kernels[3][ALGORITHM_COUNT]; // by kernel_pass; NULL: there is none
	struct im2col *im2col;                      // of the weight gradient; NULL: there is none
	// To the layout in which the weight gradient's kernels want the input, into the scratchpad; NULL: the forward pass's.
	struct kernel *input_reorder;
	uint64_t reordered_at; // in the scratchpad
};

// The direct kernels are always there: of the backward passes if `training`, of the input's gradient if it is wanted, too.
bool convolution_methods_create(struct onednn *onednn, const struct window_shape *shape, bool training,
				bool input_gradient_wanted, struct convolution_methods **ret_methods,
				struct error *error);
void convolution_methods_destroy(struct convolution_methods *methods); // takes NULL
bool convolution_methods_have(const struct convolution_methods *methods, enum kernel_pass pass,
			      enum convolution_method method);
// "winograd/jit_wino_4x3:avx512_core"
void convolution_methods_name(const struct convolution_methods *methods, enum kernel_pass pass,
			      enum convolution_method method, char into[METHOD_NAME_SIZE]);
uint64_t convolution_methods_scratchpad_bytes(const struct convolution_methods *methods); // the largest; takes NULL
// As kernel_run, ARGUMENT_SOURCE always as the forward pass wants it; the scratchpad begins at a multiple of 128 bytes. Of
// METHOD_IM2COL gradients are added to if `add`, else overwritten, as the others always do.
bool convolution_methods_run(const struct convolution_methods *methods, enum kernel_pass pass,
			     enum convolution_method method, uint32_t threads, void *scratchpad, bool add,
			     void *const pointers[ARGUMENT_COUNT]);
