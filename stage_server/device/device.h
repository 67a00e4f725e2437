// The one door to compute. A device builds a *program* from a contiguous run of layers: it plans and allocates all memory
// then, and allocates nothing inside a step. Layout inside a program is the device's own; what crosses a boundary is
// float32 NCHW (N, C, H, W), or (N, F) after flatten.
//
// Threads: a program belongs to one executor thread, which makes every call on it. device_create, device_describe,
// program_plan_memory and device_destroy: any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/model/model.h"
#include "common/model/optimizer.h"

struct device;
struct program;

struct device_options {
	const char *name;        // "cpu"
	uint32_t threads;        // of each program; 0: as many as the process has cores
	const char *tuning_file; // choices timed once per shape are remembered here; NULL: the user's cache folder
};

struct device_info {
	char name[32];
	char description[128]; // "oneDNN 2.6.3, AVX-512"
	uint32_t threads;
	uint64_t physical_bytes;
};

// What the memory of a program is for; sums to what it allocates.
struct memory_use {
	uint64_t parameter_bytes;
	uint64_t gradient_bytes;
	uint64_t optimizer_bytes;
	uint64_t stash_bytes;     // activations kept for the backward pass, all slots
	uint64_t workspace_bytes; // everything else
};
uint64_t memory_use_total(const struct memory_use *use);

struct program_spec {
	const struct model *model; // with shapes; borrowed while the call lasts
	uint32_t first_layer, end_layer;
	uint32_t micro_batch_size;
	uint32_t
		micro_batches; // per step over all replicas: the loss is the mean over micro_batch_size * micro_batches samples
	uint32_t slots;
	struct optimizer optimizer;
	uint64_t seed;                // of dropout
	bool training;                // false: forward only, no gradients
	const _Atomic(bool) *stopped; // looked at while program_create takes its time; NULL: never
	uint64_t beside_bytes;        // of the host's memory, that the caller will allocate beside the program
	// Of the first stage's images (uint8, N x 3 x raw x raw), resized bilinearly (align_corners false, no antialias: as
	// torch.nn.functional.interpolate) to image_size, divided by 255, then (x - mean) / standard_deviation.
	uint32_t raw_image_size;
	float mean[3], standard_deviation[3];
};

// Every operation is there for every device. Slots are below spec.slots, layers are indices of the model within the
// program's run, parameters are indices of the model (model_parameter). A status false is a device fault that ends the
// job; `error` says which operation on which layer.
struct device_ops {
	const char *name; // "cpu"; a device is opened by "name" or "name:index"
	bool (*create)(const struct device_options *options, struct device **ret_device, struct error *error);
	void (*destroy)(struct device *device); // takes NULL; after its programs
	void (*describe)(const struct device *device, struct device_info *ret_info);

	// What program_create would allocate, without allocating it.
	bool (*program_plan_memory)(struct device *device, const struct program_spec *spec, struct memory_use *ret_use,
				    struct error *error);
	bool (*program_create)(struct device *device, const struct program_spec *spec, struct program **ret_program,
			       struct error *error);
	void (*program_destroy)(struct program *program); // takes NULL
	void (*program_memory)(const struct program *program, struct memory_use *ret_use);

	// Whole tensors, float32, row-major in PyTorch's dimensions.
	bool (*write_parameter)(struct program *program, uint32_t parameter, const float *values, struct error *error);
	bool (*read_parameter)(struct program *program, uint32_t parameter, float *ret_values, struct error *error);
	bool (*read_gradient)(struct program *program, uint32_t parameter, float *ret_values, struct error *error);

	// Into the slot: the first stage's raw images, the last stage's labels (below classes), or the previous stage's output.
	// `first_sample` keys dropout: sample i of the micro-batch is number first_sample + i of the whole run.
	bool (*load_images)(struct program *program, uint32_t slot, const uint8_t *images, struct error *error);
	bool (*load_labels)(struct program *program, uint32_t slot, const uint8_t *labels, struct error *error);
	bool (*write_input)(struct program *program, uint32_t slot, const float *values, struct error *error);
	bool (*read_output)(struct program *program, uint32_t slot, float *ret_values, struct error *error);
	// For the backward pass in hand: the gradient of the program's output, and of its input once backward is done.
	bool (*write_output_gradient)(struct program *program, const float *values, struct error *error);
	bool (*read_input_gradient)(struct program *program, float *ret_values, struct error *error);

	// One layer at a time, in order; a device may fuse neighbours, and then does their work at the first of them.
	bool (*forward)(struct program *program, uint32_t slot, uint32_t layer, uint64_t first_sample,
			struct error *error);
	// Softmax cross-entropy of the last stage, after its last layer's forward. `ret_loss` is the micro-batch's mean;
	// `ret_correct` counts samples whose largest logit is their label.
	bool (*loss)(struct program *program, uint32_t slot, float *ret_loss, uint32_t *ret_correct,
		     struct error *error);
	// Starts a backward pass of the slot on the last stage: the loss's gradient, over spec.micro_batches.
	bool (*loss_backward)(struct program *program, uint32_t slot, struct error *error);
	// From the last layer to the first: backward_weight, then backward_input of each. The weight's gradient is added to
	// what zero_gradients began. backward_input of the first stage's first layer does nothing.
	bool (*backward_weight)(struct program *program, uint32_t slot, uint32_t layer, struct error *error);
	bool (*backward_input)(struct program *program, uint32_t slot, uint32_t layer, struct error *error);

	bool (*zero_gradients)(struct program *program, struct error *error); // may be lazy: the next one overwrites
	// Sum of squares of each parameter's gradient, in order, in double: the same whatever stage it is on.
	bool (*gradient_squares)(struct program *program, double *ret_squares, struct error *error);
	bool (*optimizer_step)(struct program *program, const struct optimizer_step *step, struct error *error);
	bool (*synchronize)(struct program *program, struct error *error); // all above is done when it returns
};

// The devices this build has; NULL ends the table. The only place that lists them.
extern const struct device_ops *const device_table[];

// "cpu", "cpu:0": finds the row. ERROR_USAGE names the devices that there are.
bool device_find(const char *name, const struct device_ops **ret_ops, struct error *error);
