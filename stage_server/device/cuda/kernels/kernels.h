// The CUDA device's own kernels: what neither cuDNN nor cuBLASLt does, or what is one pass over memory. C functions that issue
// a launch on `stream` and return cudaGetLastError's answer; nothing allocates or waits. All sums run in an order that depends on
// the shape alone, so the same input gives the same bits.
//
// Tensors: `type` is the element type of every void pointer, NHWC (N, H, W, C) with C innermost, or rows of columns; arithmetic
// is in float32. A float or double pointer is what it says. All memory is the device's. Any thread, with the device current.
#pragma once

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/random.h"
#include "common/model/data_type.h"
#include "common/model/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- images.cu
struct image_kernel {
	uint32_t n, raw_size, size;
	uint32_t channels; // of the output, at least 3: those beyond are zeros
	float mean[3], standard_deviation[3];
};
// uint8 (N, 3, raw, raw) to (N, size, size, channels): resized bilinearly, scaled, normalised; see program_spec.
cudaError_t kernel_images(cudaStream_t stream, enum data_type type, const struct image_kernel *spec,
			  const uint8_t *images, void *output);

// ---- layout.cu
// (N, C, P) to (N, P, C) with P positions, and back; `count` elements as they lie. From one type to another.
cudaError_t kernel_to_channels_last(cudaStream_t stream, uint32_t n, uint32_t channels, uint32_t positions,
				    enum data_type from_type, const void *from, enum data_type to_type, void *to);
cudaError_t kernel_to_channels_first(cudaStream_t stream, uint32_t n, uint32_t channels, uint32_t positions,
				     enum data_type from_type, const void *from, enum data_type to_type, void *to);
cudaError_t kernel_convert(cudaStream_t stream, uint64_t count, enum data_type from_type, const void *from,
			   enum data_type to_type, void *to);
// Rows of `row` floats to rows of `padded_row` elements, zeros behind.
cudaError_t kernel_pad_rows(cudaStream_t stream, uint64_t rows, uint32_t row, uint32_t padded_row, const float *from,
			    enum data_type type, void *to);
// Rows of `padded_row` elements to rows of `row` floats: to (+)= from.
cudaError_t kernel_accumulate(cudaStream_t stream, uint64_t rows, uint32_t row, uint32_t padded_row,
			      enum data_type type, const void *from, bool add, float *to);

// ---- elementwise.cu
// values[r][c] += bias[c], then a ReLU if `relu`.
cudaError_t kernel_bias(cudaStream_t stream, enum data_type type, uint64_t rows, uint32_t columns, const float *bias,
			bool relu, void *values);
cudaError_t kernel_relu(cudaStream_t stream, enum data_type type, uint64_t count, void *values);
// gradient = output <= 0 ? 0 : gradient: NaN lets it pass, as in PyTorch
cudaError_t kernel_relu_backward(cudaStream_t stream, enum data_type type, uint64_t count, const void *output,
				 void *gradient);
// sums[c] (+)= the sum over rows. `scratch` has kernel_column_sums_scratch bytes.
uint64_t kernel_column_sums_scratch(uint64_t rows, uint32_t columns);
cudaError_t kernel_column_sums(cudaStream_t stream, enum data_type type, uint64_t rows, uint32_t columns,
			       const void *values, bool add, float *sums, void *scratch);
// kernel_relu_backward and then the column sums of what it leaves, to the bit, in one pass.
cudaError_t kernel_relu_backward_sums(cudaStream_t stream, enum data_type type, uint64_t rows, uint32_t columns,
				      const void *output, void *gradient, bool add, float *sums, void *scratch);

// ---- pooling.cu
struct pool_kernel {
	uint32_t n, channels, height, width, output_height, output_width;
	uint32_t window,
		stride; // max pool: square; window <= 15; every window lies inside the input (no padding, floor)
};
// `places` (N, OH, OW, C): which element of the window is the largest (row * window + column; the first of equals). `behind_relu`: the
// input is a ReLU's output, and a maximum that is not above 0 has no place; NaN has one. So no gradient goes there, and the input's
// gradient is what that ReLU's backward pass would make of it, to the bit.
cudaError_t kernel_max_pool(cudaStream_t stream, enum data_type type, const struct pool_kernel *spec, bool behind_relu,
			    const void *input, void *output, uint8_t *places);
cudaError_t kernel_max_pool_backward(cudaStream_t stream, enum data_type type, const struct pool_kernel *spec,
				     const void *output_gradient, const uint8_t *places, void *input_gradient);
// Adaptive average pool as PyTorch defines it: window i is [floor(i*H/OH), ceil((i+1)*H/OH)). No side is above 65535.
cudaError_t kernel_average_pool(cudaStream_t stream, enum data_type type, const struct pool_kernel *spec,
				const void *input, void *output);
cudaError_t kernel_average_pool_backward(cudaStream_t stream, enum data_type type, const struct pool_kernel *spec,
					 const void *output_gradient, void *input_gradient);

// ---- dropout.cu
struct dropout_kernel {
	struct random_key key;
	uint64_t first_sample;
	uint32_t n;
	// Element (p, c) of a sample lies at p * channels + c and is drawn as number c * positions + p, its place in NCHW.
	uint32_t positions, channels;
	float probability; // of being dropped; what is kept is scaled by 1 / (1 - probability), 0 where that is no number
};
// In place. `mask`: 1 where kept. The same draws as stage_server/device/cpu/dropout.c.
cudaError_t kernel_dropout(cudaStream_t stream, enum data_type type, const struct dropout_kernel *spec, void *values,
			   uint8_t *mask);
cudaError_t kernel_dropout_backward(cudaStream_t stream, enum data_type type, const struct dropout_kernel *spec,
				    const uint8_t *mask, void *gradient);

// ---- loss.cu
// The mean softmax cross-entropy of n rows of logits, and how many rows' largest logit (the first of equals) is the label.
cudaError_t kernel_loss(cudaStream_t stream, enum data_type type, uint32_t n, uint32_t classes, const void *logits,
			const uint8_t *labels, float *ret_loss, uint32_t *ret_correct);
// gradient = (softmax - onehot) * scale
cudaError_t kernel_loss_backward(cudaStream_t stream, enum data_type type, uint32_t n, uint32_t classes,
				 const void *logits, const uint8_t *labels, float scale, void *gradient);

// ---- optimizer.cu
// All of a stage's parameters at once: `count` floats of values, gradients and state (NULL where the optimizer has none), as
// PyTorch's SGD, Adam and AdamW and DeepSpeed's Lion and Adagrad define the step (stage_server/device/cpu/optimizer.c has the same
// arithmetic). `first`: SGD's momentum
// buffer is not set yet. `copy` NULL, or the values once more in `copy_type`.
cudaError_t kernel_optimizer_step(cudaStream_t stream, const struct optimizer *optimizer,
				  const struct optimizer_step *step, bool first, uint64_t count, float *values,
				  const float *gradients, float *state_0, float *state_1, enum data_type copy_type,
				  void *copy);
// A step of Lamb of one tensor, whose norms it needs. `scratch` has kernel_lamb_scratch bytes.
uint64_t kernel_lamb_scratch(uint64_t count);
cudaError_t kernel_lamb_step(cudaStream_t stream, const struct optimizer *optimizer, const struct optimizer_step *step,
			     uint64_t count, float *values, const float *gradients, float *state_0, float *state_1,
			     enum data_type copy_type, void *copy, void *scratch);
// *ret_sum = the sum of squares, in double. `scratch` has kernel_squares_scratch bytes.
uint64_t kernel_squares_scratch(uint64_t count);
cudaError_t kernel_squares(cudaStream_t stream, uint64_t count, const float *values, double *ret_sum, void *scratch);

#ifdef __cplusplus
}
#endif
