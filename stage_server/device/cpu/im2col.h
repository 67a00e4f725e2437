// A convolution's weight gradient as one matrix product: gradient (F, positions) times columns (positions, K * K * C), where
// a position is a place of the output in one of the samples. The library's own kernels go through the samples one by one;
// where a sample has few positions, a product over all samples at once is faster.
//
// Threads: that of the program.
#pragma once

#include "stage_server/device/cpu/onednn.h"

struct im2col;

// `images` and `gradient` are the layouts in which the input and the output's gradient come. *ret_im2col is NULL where it is
// not worth a trial: samples of more than 256 positions, or a scratchpad over 64 MiB.
bool im2col_create(struct onednn *onednn, const struct window_shape *shape, const struct layout *images,
		   const struct layout *gradient, struct im2col **ret_im2col, struct error *error);
void im2col_destroy(struct im2col *im2col);                      // takes NULL
uint64_t im2col_scratchpad_bytes(const struct im2col *im2col);   // takes NULL
const struct layout *im2col_layout(const struct im2col *im2col); // of the weight gradient: (F, K, K, C); borrowed

// `pointers`: ARGUMENT_SOURCE, DESTINATION_GRADIENT; WEIGHTS_GRADIENT and BIAS_GRADIENT, which are added to if `add`. The scratchpad
// begins at a multiple of 128 bytes. The same bits for one number of threads.
bool im2col_run(const struct im2col *im2col, uint32_t threads, void *scratchpad, bool add,
		void *const pointers[ARGUMENT_COUNT]);
