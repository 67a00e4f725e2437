// The one door to compute. A device builds a *program* from a contiguous run of layers: it plans and allocates all memory
// then, and allocates nothing inside a step. Layout inside a program is the device's own; what crosses a boundary is
// NCHW (N, C, H, W), or (N, F) after flatten, in spec.boundary_type.
//
// Work is asynchronous: an operation returns when it is issued, and operations of one program take effect in the order of
// issue. Memory of the host that an operation reads or writes is the device's until the operation's completion.
//
// Threads: a program belongs to one executor thread, which makes every call on it. create, describe, sample, host_allocate,
// host_free and destroy: any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/model/data_type.h"
#include "common/model/model.h"
#include "common/model/optimizer.h"
#include "stage_server/device/choice.h"

struct device;
struct program;

enum { DEVICE_GROUP_ID_BYTES = 128 };

struct device_options {
	const char *name; // "cpu", "cuda:1"
	uint32_t threads; // cpu: of each program; 0: as many as the process has cores
};

struct device_info {
	char name[32];
	char description[128]; // "oneDNN 2.6.3, AVX-512"
	// What kernels and their bits depend on beside the question: processor, library, instruction set, threads. Printable, without
	// white space. Equal devices give equal bits.
	char machine[CHOICE_TEXT_SIZE];
	uint32_t threads; // 0: of no meaning
	char group
		[16]; // how its programs sum gradients among themselves: "nccl"; "": they do not, and the group_ operations are not called
	uint64_t physical_bytes;
	bool exchange_is_device; // see exchange_allocate; such memory counts as the device's
	bool shares_host_memory; // programs and the host's buffers come out of one memory, so one limit holds for both
};

// What a device says of itself while it runs; NAN: it does not say.
struct device_sample {
	double memory_used_bytes, memory_free_bytes; // of the whole device, by whomever
	double utilisation;                          // 0 to 1
	double temperature_celsius, power_watts;
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
	// Per step over all replicas: the loss is the mean over micro_batch_size * micro_batches samples.
	uint32_t micro_batches;
	uint32_t slots;
	uint32_t marks; // points in time that the caller will use; see mark
	struct optimizer optimizer;
	enum data_type compute_type;  // of activations and their gradients; parameters, gradients, state stay float32
	bool allow_tf32;              // products of float32 may be rounded to TF32's 10 bits
	enum data_type boundary_type; // of what crosses a boundary
	// 0: a slot keeps all activations. k: only the input of each run of k layers, counted from first_layer; the backward
	// pass computes the rest again.
	uint32_t checkpoint_interval;
	uint64_t seed; // of dropout
	bool training; // false: forward only, no gradients
	bool replicas; // read_gradient and write_gradient will be called inside steps; see there
	bool group;    // group_join will be called, and group_reduce inside steps
	const struct chooser
		*chooser; // asked by create and allocate; borrowed until allocate returns. NULL: first candidates
	const _Atomic(bool) *stopped; // looked at while create and allocate take their time; NULL: never
	uint64_t beside_bytes;        // of the host's memory, that the caller will allocate beside the program
	// Of the first stage's images (uint8, N x 3 x raw x raw), resized bilinearly (align_corners false, no antialias: as
	// torch.nn.functional.interpolate) to image_size, divided by 255, then (x - mean) / standard_deviation.
	uint32_t raw_image_size;
	float mean[3], standard_deviation[3];
};

// The end of an asynchronous transfer between a program and the host's memory. Called once if the operation returned true,
// on any thread, maybe before it returned; `ok` false: the device failed, and the memory's content means nothing. It must
// not call the device. With `call` NULL the operation returns when the transfer is over.
struct device_completion {
	void (*call)(void *user, bool ok);
	void *user;
};

static inline void device_complete(struct device_completion completion, bool ok)
{
	if (completion.call != NULL)
		completion.call(completion.user, ok);
}

// Every operation is there for every device, but for the group_ ones. Slots are below spec.slots, layers are indices of the model within the
// program's run, parameters are indices of the model (model_parameter). A status false is a device fault that ends the
// job; `error` says which operation on which layer, or that an earlier one failed. ERROR_USAGE for a spec that the device
// cannot compute (its types, say).
struct device_ops {
	const char *name; // "cpu"; a device is opened by "name" or "name:index"
	bool (*create)(const struct device_options *options, struct device **ret_device, struct error *error);
	void (*destroy)(struct device *device); // takes NULL; after its programs
	void (*describe)(const struct device *device, struct device_info *ret_info);
	void (*sample)(const struct device *device, struct device_sample *ret_sample);

	// The host's memory that is exchanged with the device, aligned to 64 bytes: from here, copies are fast.
	void *(*host_allocate)(struct device *device, size_t bytes); // NULL when memory is out
	void (*host_free)(struct device *device, void *memory);      // takes NULL
	// Memory for tensors that one program of this kind of device hands to another in this process: its own where that is faster
	// (info.exchange_is_device), else the host's. Whatever transfers to or from the host takes such memory, too.
	void *(*exchange_allocate)(struct device *device, size_t bytes);
	void (*exchange_free)(struct device *device, void *memory);

	// Plans a program: everything but its memory, and program_memory says how much that will be. Waits for the chooser.
	bool (*program_create)(struct device *device, const struct program_spec *spec, struct program **ret_program,
			       struct error *error);
	// Allocates it, all zeros, and settles which kernels are used. Once, before any operation below. ERROR_OUT_OF_MEMORY
	// with the numbers; what was allocated is given back by program_destroy.
	bool (*program_allocate)(struct program *program, struct error *error);
	void (*program_destroy)(struct program *program); // takes NULL; every completion was called when it returns
	void (*program_memory)(const struct program *program, struct memory_use *ret_use);

	// Whole tensors, float32, row-major in PyTorch's dimensions. They return when it is done.
	bool (*write_parameter)(struct program *program, uint32_t parameter, const float *values, struct error *error);
	bool (*read_parameter)(struct program *program, uint32_t parameter, float *ret_values, struct error *error);
	// A gradient, whole, in the same form, out and back in: so that it is summed over replicas while the backward pass of other
	// layers runs. read_gradient: as it is after the operations issued so far; zeros where none added to it since
	// zero_gradients. write_gradient: what operations issued later find; the next backward_weight adds to it. With
	// spec.replicas both overlap with work on other gradients, what memory that takes is part of the plan, and memory of
	// host_allocate's is fast; without, they return when the transfer is over.
	bool (*read_gradient)(struct program *program, uint32_t parameter, float *ret_values,
			      struct device_completion completion, struct error *error);
	bool (*write_gradient)(struct program *program, uint32_t parameter, const float *values,
			       struct device_completion completion, struct error *error);

	// Programs of several devices, on whatever machines, that sum their gradients among themselves. All four are NULL for a device
	// that has no such way; with spec.group.
	// A new group's id, [DEVICE_GROUP_ID_BYTES], for every member to join with. Any thread.
	bool (*group_id)(struct device *device, uint8_t *ret_id, struct error *error);
	// Once, before the first step; returns when all `replicas` members have joined. ERROR_CANCELLED once *stopped, which is
	// borrowed until program_destroy and ends every later wait for other members, too; ERROR_UNREACHABLE, here and from any
	// later operation, when the device notices that a member is gone. It may not notice.
	bool (*group_join)(struct program *program, const uint8_t *id, uint32_t replicas, uint32_t replica,
			   const _Atomic(bool) *stopped, struct error *error);
	// The layer's gradients become their sums over the members, the same bits on each, while other layers' passes run. Each
	// member issues the same layers in the same order. What uses a gradient later waits for it.
	bool (*group_reduce)(struct program *program, uint32_t layer, struct error *error);
	// Operations issued from now on come after all reductions issued so far. Does not wait itself.
	bool (*group_wait)(struct program *program, struct error *error);

	// Into the slot: the first stage's raw images, the last stage's labels (below classes), or the previous stage's output.
	bool (*load_images)(struct program *program, uint32_t slot, const uint8_t *images,
			    struct device_completion completion, struct error *error);
	bool (*load_labels)(struct program *program, uint32_t slot, const uint8_t *labels,
			    struct device_completion completion, struct error *error);
	bool (*write_input)(struct program *program, uint32_t slot, const void *values,
			    struct device_completion completion, struct error *error);
	bool (*read_output)(struct program *program, uint32_t slot, void *ret_values,
			    struct device_completion completion, struct error *error);
	// For the backward pass that comes next: the gradient of the program's output, and of its input once backward is done.
	bool (*write_output_gradient)(struct program *program, const void *values, struct device_completion completion,
				      struct error *error);
	bool (*read_input_gradient)(struct program *program, void *ret_values, struct device_completion completion,
				    struct error *error);

	// One layer at a time, in order; a device may fuse neighbours, and then does their work at one of them.
	// `first_sample` keys dropout: sample i of the micro-batch is number first_sample + i of the whole run.
	bool (*forward)(struct program *program, uint32_t slot, uint32_t layer, uint64_t first_sample,
			struct error *error);
	// Softmax cross-entropy of the last stage, after its last layer's forward; kept as that of `micro_batch` (below
	// spec.micro_batches) until read_losses.
	bool (*loss)(struct program *program, uint32_t slot, uint32_t micro_batch, struct error *error);
	// Of micro-batches 0 .. count - 1 the mean losses, and how many samples' largest logit is their label. Waits.
	bool (*read_losses)(struct program *program, uint32_t count, float *ret_losses, uint32_t *ret_correct,
			    struct error *error);
	// Starts a backward pass of the slot on the last stage: the loss's gradient, over spec.micro_batches, times `scale`.
	bool (*loss_backward)(struct program *program, uint32_t slot, float scale, struct error *error);
	// From the last layer to the first: backward_weight, then backward_input of each. The weight's gradient is added to
	// what zero_gradients began. backward_input of the first stage's first layer does nothing.
	bool (*backward_weight)(struct program *program, uint32_t slot, uint32_t layer, struct error *error);
	bool (*backward_input)(struct program *program, uint32_t slot, uint32_t layer, struct error *error);

	bool (*zero_gradients)(struct program *program, struct error *error); // may be lazy: the next one overwrites
	// Sum of squares of each parameter's gradient, in order, in double: the same whatever stage it is on; infinite or
	// not a number where a gradient overflowed. Waits.
	bool (*gradient_squares)(struct program *program, double *ret_squares, struct error *error);
	bool (*optimizer_step)(struct program *program, const struct optimizer_step *step, struct error *error);
	bool (*synchronize)(struct program *program, struct error *error); // all above is done when it returns

	// A point in the program's work, numbered by the caller below spec.marks; marking a number again moves it.
	bool (*mark)(struct program *program, uint32_t mark, struct error *error);
	// The time that the device took from one mark to a later one, after synchronize.
	bool (*elapsed)(struct program *program, uint32_t from, uint32_t to, uint64_t *ret_ns, struct error *error);
};

// The devices this build has; NULL ends the table. The only place that lists them.
extern const struct device_ops *const device_table[];

// "cpu", "cpu:0": finds the row. ERROR_USAGE names the devices that there are.
bool device_find(const char *name, const struct device_ops **ret_ops, struct error *error);
