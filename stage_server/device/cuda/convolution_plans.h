// Convolutions with cuDNN's graph API, and the engines that it offers for a shape. NHWC activations, KRSC weights, all of one type,
// accumulation in float32.
//
// Threads: the program's own, with the device current. Nothing allocates on the device.
#pragma once

#include <cudnn.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/model/data_type.h"

struct convolution_spec {
	uint32_t n, channels, height, width;
	uint32_t output_channels, output_height, output_width;
	uint32_t kernel_size, stride, padding;
	enum data_type type;
	bool allow_tf32;
};

enum convolution_pass {
	CONVOLUTION_FORWARD, // y = relu?(x * w + bias): candidates fuse it all, or leave bias and ReLU to kernel_bias
	CONVOLUTION_BACKWARD_INPUT,  // dx
	CONVOLUTION_BACKWARD_WEIGHT, // dw, overwritten
};

struct convolution_plans;

enum { CONVOLUTION_MAXIMUM_PLANS = 8 };

// How much workspace a plan of the convolution may want, where `usual_bytes` is what kernels may as a rule: more for large images in
// float32 without TF32.
uint64_t convolution_plans_limit(const struct convolution_spec *spec, uint64_t usual_bytes);

// Builds the execution plans of the engines that cuDNN's heuristics name, those that need no more workspace than `limit_bytes` and
// give the same bits each time; at least one, or false: ERROR_FAILED says for which shape there is none. `relu`: forward only; it
// changes neither which plans there are nor their names. `only`:
// the plan that had this name (convolution_plans_name) alone, where it can still be built; NULL: all. Building one takes cuDNN up to half
// a second, where it compiles it.
bool convolution_plans_create(cudnnHandle_t handle, const struct convolution_spec *spec, enum convolution_pass pass,
			      bool relu, uint64_t limit_bytes, const char *only, struct convolution_plans **ret_plans,
			      struct error *error);
void convolution_plans_destroy(struct convolution_plans *plans); // takes NULL
uint32_t convolution_plans_count(const struct convolution_plans *plans);
// "fused.engine_3.k2=1": the same on every start; no white space.
void convolution_plans_name(const struct convolution_plans *plans, uint32_t plan, char *into, size_t size);
uint64_t convolution_plans_workspace_bytes(const struct convolution_plans *plans); // of the greediest

// Forward: x, w, both biases, y. Backward: of the three tensors x, w, y the one that the pass computes is written.
struct convolution_tensors {
	void *x;                // (N, H, W, C), or its gradient
	void *w;                // (K, R, S, C), or its gradient
	const float *bias;      // (K); forward only
	const void *typed_bias; // (K), the same in the type; forward only
	void *y;                // (N, OH, OW, K), or its gradient
};
// Issues it on the stream that the handle was given.
bool convolution_plans_run(const struct convolution_plans *plans, uint32_t plan, cudnnHandle_t handle,
			   cudaStream_t stream, const struct convolution_tensors *tensors, void *workspace,
			   struct error *error);
