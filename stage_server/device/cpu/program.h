// What the files of the CPU device share: a program is layers with their kernels and places in five regions of memory,
// all known before the first byte is allocated.
//
// How bits stay the same wherever a model is cut: each layer chooses its kernels and its layouts from its own shape
// alone; where neighbours differ a reorder, which is exact, stands between them; a boundary is row-major.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/random.h"
#include "stage_server/device/cpu/onednn.h"
#include "stage_server/device/device.h"

struct tuning;

struct device {
	struct onednn *onednn;
	struct tuning *tuning;
	uint32_t threads;
};

// Alignment of every block; also a multiple of any vector, so that a loop over chunks never splits one.
enum { BLOCK_ALIGNMENT = 128 };

enum region { REGION_PARAMETERS, REGION_GRADIENTS, REGION_OPTIMIZER, REGION_STASH, REGION_WORKSPACE, REGION_COUNT };

// A place in a region; in the stash there is one per slot.
struct block {
	enum region region;
	uint64_t offset, bytes;
};

// A tensor between layers.
struct value {
	const struct layout *layout; // borrowed
	struct block block;          // in the stash
};

// A layout in which a weight gradient may come, with what follows from it.
struct gradient_form {
	const struct layout *layout;   // borrowed
	struct kernel *export, *align; // to plain, and to the value's layout; NULL: the same
	uint64_t floats;               // padding included
};

struct parameter_state {
	struct parameter description;
	uint32_t index;                 // of the model
	const struct layout *layout;    // borrowed: as the forward pass wants it
	struct layout *plain;           // owned
	struct kernel *import, *export; // plain to layout and back; NULL: the same
	struct gradient_form forms[2];  // as the weight gradient may give it; the second may have no layout
	uint32_t form;                  // the one in use, for the program's whole life
	struct block value, gradient, state[2];
	uint64_t floats;        // of value, padding included
	bool gradient_is_zero;  // nothing was added since zero_gradients: the next pass overwrites
	bool momentum_is_unset; // SGD's first step with a momentum sets the buffer
};

struct program;
struct layer_state;

// One kind of layer. `prepare` makes kernels and says which layouts it wants and gives; `place` reserves memory once
// the layouts around it are known; `choose`, with the memory there and all of it zeros, settles what is chosen by timing,
// in that memory and no other. What is reserved does not depend on the choice. A NULL operation does nothing.
struct layer_class {
	bool (*prepare)(struct program *program, struct layer_state *state, struct error *error);
	bool (*place)(struct program *program, struct layer_state *state, struct error *error);
	void (*choose)(struct program *program, struct layer_state *state);
	bool (*forward)(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample);
	bool (*backward_weight)(struct program *program, struct layer_state *state, uint32_t slot);
	bool (*backward_input)(struct program *program, struct layer_state *state, uint32_t slot);
};

struct layer_state {
	const struct layer *layer; // of program->model
	const struct layer_class *class;
	uint32_t index;    // of the model
	bool is_first;     // of the model: no gradient of its input is wanted
	bool relu_follows; // and is computed here
	bool done_before;  // a ReLU whose forward the layer before it computes
	uint32_t rank;     // of its input: 4, or 2 after flatten
	uint32_t output_rank;

	// Set by prepare; borrowed from kernels or `owned`. NULL: whatever comes is taken, or given on.
	const struct layout *wanted_input, *given_output;
	const struct layout *wanted_for_weight, *wanted_for_input, *given_gradient;
	struct layout *plain_input, *plain_output; // row-major; owned

	// Set while layouts are matched.
	struct value arriving, input, output; // arriving is input unless input_reorder
	struct kernel *input_reorder;
	struct kernel *reorder_for_weight, *reorder_for_input; // of the gradient

	struct kernel *forward, *backward_input; // of a max pool
	struct parameter_state *weight, *bias;
	uint32_t choice[3];                  // linear and convolution: by kernel_pass; 0 until chosen
	struct convolution_methods *methods; // of a convolution
	struct convolution_methods *trial;   // the same of fewer samples, for timing; NULL: as many, or not timed
	const struct layout *backward_weights_layout;
	struct kernel *weights_reorder; // to what backward_input wants
	struct block weights_copy;      // so reordered, once per step
	bool weights_copy_is_current;
	struct block workspace; // in the stash: of max pool; dropout's mask
	struct random_key key;  // dropout
};

struct program {
	struct device *device; // borrowed
	struct model model;
	uint32_t first_layer, end_layer, layer_count;
	uint32_t n; // micro-batch size
	uint32_t micro_batches, slots;
	struct optimizer optimizer;
	uint64_t seed;
	bool training;
	uint32_t raw_image_size;
	const _Atomic(bool) *stopped; // borrowed while the program is made
	float mean[3], standard_deviation[3];

	struct layer_state *layers;         // [layer_count]
	struct parameter_state *parameters; // [parameter_count]
	uint32_t first_parameter, parameter_count;

	struct layout *plain_input, *plain_output;   // owned
	struct kernel *input_import, *output_export; // NULL: no change
	struct kernel *output_gradient_import, *input_gradient_export;

	uint64_t region_bytes[REGION_COUNT]; // reserved; the stash: of one slot
	uint8_t *region[REGION_COUNT];       // NULL until allocated
	size_t mapped_bytes[REGION_COUNT];

	struct block gradient[2]; // the gradient that flows back, and the next one
	uint32_t gradient_current;
	struct block scratchpad, weight_temporary, plain_temporary, losses, squares;
	// The largest so far:
	uint64_t gradient_bytes, scratchpad_bytes, weight_temporary_bytes, plain_temporary_bytes;
	struct block labels; // in the stash
	bool has_labels;     // the program ends the model
};

static inline void *program_pointer(const struct program *program, const struct block *block, uint32_t slot)
{
	uint64_t base = block->region == REGION_STASH ? slot * program->region_bytes[REGION_STASH] : 0;
	return program->region[block->region] + base + block->offset;
}

// program.c
bool cpu_program_plan_memory(struct device *device, const struct program_spec *spec, struct memory_use *ret_use,
			     struct error *error);
bool cpu_program_create(struct device *device, const struct program_spec *spec, struct program **ret_program,
			struct error *error);
void cpu_program_destroy(struct program *program); // takes NULL, and half-built ones
void cpu_program_memory(const struct program *program, struct memory_use *ret_use);
bool cpu_write_input(struct program *program, uint32_t slot, const float *values, struct error *error);
bool cpu_read_output(struct program *program, uint32_t slot, float *ret_values, struct error *error);
bool cpu_write_output_gradient(struct program *program, const float *values, struct error *error);
bool cpu_read_input_gradient(struct program *program, float *ret_values, struct error *error);
bool cpu_forward(struct program *program, uint32_t slot, uint32_t layer, uint64_t first_sample, struct error *error);
bool cpu_backward_weight(struct program *program, uint32_t slot, uint32_t layer, struct error *error);
bool cpu_backward_input(struct program *program, uint32_t slot, uint32_t layer, struct error *error);
bool cpu_synchronize(struct program *program, struct error *error);
bool program_reserve(struct program *program, enum region region, uint64_t bytes, struct block *ret_block,
		     struct error *error);
void program_need_scratchpad(struct program *program, uint64_t bytes);
bool program_run(struct program *program, struct kernel *kernel, void *const pointers[ARGUMENT_COUNT]);
// `kernel` NULL: a copy.
bool program_convert(struct program *program, struct kernel *kernel, const void *from, void *to, uint64_t bytes);
bool program_reorder(struct program *program, const struct layout *from, const struct layout *to,
		     struct kernel **ret_kernel, struct error *error);
static inline float *program_gradient(const struct program *program)
{
	return program_pointer(program, &program->gradient[program->gradient_current], 0);
}
static inline float *program_next_gradient(const struct program *program)
{
	return program_pointer(program, &program->gradient[1 - program->gradient_current], 0);
}
static inline void program_swap_gradients(struct program *program)
{
	program->gradient_current = 1 - program->gradient_current;
}

static inline const struct gradient_form *parameter_form(const struct parameter_state *parameter)
{
	return &parameter->forms[parameter->form];
}

static inline struct layer_state *program_last_layer(const struct program *program)
{
	return &program->layers[program->layer_count - 1];
}

// parameters.c
bool parameters_prepare(struct program *program, struct error *error); // descriptions and plain layouts
bool parameters_place(struct program *program, struct error *error);
void parameters_release(struct program *program);
struct parameter_state *parameters_find(struct program *program, uint32_t parameter, struct error *error);
bool cpu_write_parameter(struct program *program, uint32_t parameter, const float *values, struct error *error);
bool cpu_read_parameter(struct program *program, uint32_t parameter, float *ret_values, struct error *error);
bool cpu_read_gradient(struct program *program, uint32_t parameter, float *ret_values, struct error *error);
bool cpu_zero_gradients(struct program *program, struct error *error);
bool cpu_gradient_squares(struct program *program, double *ret_squares, struct error *error);
// Where a gradient is nothing yet, makes it zeros.
float *parameter_gradient_values(struct program *program, struct parameter_state *parameter);

// optimizer.c
bool cpu_optimizer_step(struct program *program, const struct optimizer_step *step, struct error *error);

// input.c
bool cpu_load_images(struct program *program, uint32_t slot, const uint8_t *images, struct error *error);

// loss.c
bool loss_place(struct program *program, struct error *error);
bool cpu_load_labels(struct program *program, uint32_t slot, const uint8_t *labels, struct error *error);
bool cpu_loss(struct program *program, uint32_t slot, float *ret_loss, uint32_t *ret_correct, struct error *error);
bool cpu_loss_backward(struct program *program, uint32_t slot, struct error *error);

extern const struct layer_class convolution_class, relu_class, max_pool_class, average_pool_class, flatten_class,
	dropout_class, linear_class;
