// What the files of the CPU device share: a program is layers with their kernels and places in six regions of memory,
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

struct device {
	struct onednn *onednn;
	uint32_t threads;
};

// Alignment of every block; also a multiple of any vector, so that a loop over chunks never splits one.
enum { BLOCK_ALIGNMENT = 128 };

enum region {
	REGION_PARAMETERS,
	REGION_GRADIENTS,
	REGION_OPTIMIZER,
	REGION_STASH, // what the backward pass needs: a part per slot, or with checkpoints one part for all, a run's at a time
	REGION_KEPT, // what stays in a slot whatever happens to the stash: labels, inputs of checkpointed runs; a part per slot
	REGION_WORKSPACE,
	REGION_COUNT,
};

// A place in a region.
struct block {
	enum region region;
	uint64_t offset, bytes;
};

// A tensor between layers.
struct value {
	const struct layout *layout; // borrowed
	struct block block;          // in the stash, or kept
};

// A layout in which a weight gradient may come, with what follows from it.
struct gradient_form {
	const struct layout *layout;    // borrowed
	struct kernel *import, *export; // plain to layout and back; NULL: the same
	struct kernel *align;           // to the value's layout; NULL: the same
	uint64_t floats;                // padding included
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

// One kind of layer. `ask` puts the layer's questions, from its shape alone; `prepare` makes kernels, says which layouts it
// wants and gives, and offers candidates; `place` reserves memory once the layouts around it are known; `settle`, when the
// questions are answered, takes the answers. What is reserved does not depend on them. A NULL operation does nothing.
struct layer_class {
	bool in_place; // forward overwrites its input
	void (*ask)(struct program *program, struct layer_state *state);
	bool (*prepare)(struct program *program, struct layer_state *state, struct error *error);
	bool (*place)(struct program *program, struct layer_state *state, struct error *error);
	void (*settle)(struct program *program, struct layer_state *state);
	bool (*forward)(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample);
	bool (*backward_weight)(struct program *program, struct layer_state *state, uint32_t slot);
	bool (*backward_input)(struct program *program, struct layer_state *state, uint32_t slot);
};

// What a candidate is tried for.
struct trial {
	struct program *program;
	struct layer_state *state;
	enum kernel_pass pass;
};

struct layer_state {
	const struct layer *layer; // of program->model
	const struct layer_class *class;
	uint32_t index;    // of the model
	bool is_first;     // of the model: no gradient of its input is wanted
	bool relu_follows; // and is computed here
	bool done_before;  // a ReLU whose forward the layer before it computes, or the max pool behind it
	bool relu_before;  // a max pool that computes it; between the two its input's signs alone matter
	uint32_t rank;     // of its input: 4, or 2 after flatten
	uint32_t output_rank;

	// Set by prepare; borrowed from kernels or `owned`. NULL: whatever comes is taken, or given on.
	const struct layout *wanted_input, *given_output;
	const struct layout *wanted_for_weight, *wanted_for_input, *given_gradient;
	struct layout *plain_input, *plain_output; // row-major; owned

	// Set while layouts are matched.
	struct value arriving, input, output; // arriving is input unless input_reorder
	bool heads_run;                       // of checkpointed layers, and where that run's input is kept
	struct block kept;
	bool copies_input; // to its output, before it works there in place
	struct kernel *input_reorder;
	struct kernel *reorder_for_weight, *reorder_for_input; // of the gradient

	struct kernel *forward, *backward_input; // of a max pool; the first one is never run
	struct parameter_state *weight, *bias;
	struct choice *question[3];          // linear and convolution: by kernel_pass; NULL: nothing is asked
	struct trial trials[3];              // of those
	uint32_t choice[3];                  // by kernel_pass; 0 until settled
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
	enum data_type boundary_type;
	uint32_t checkpoint_interval;
	uint32_t raw_image_size;
	const _Atomic(bool) *stopped; // borrowed while the program is made
	uint64_t beside_bytes;        // see program_spec
	float mean[3], standard_deviation[3];

	struct layer_state *layers;         // [layer_count]
	struct choices choices;             // that the layers ask for
	const struct chooser *chooser;      // borrowed while the program is made
	struct parameter_state *parameters; // [parameter_count]
	uint32_t first_parameter, parameter_count;

	struct layout *plain_input, *plain_output;   // owned
	struct kernel *input_import, *output_export; // NULL: no change
	struct kernel *output_gradient_import, *input_gradient_export;

	uint64_t region_bytes[REGION_COUNT]; // reserved; of one part, where there are parts
	uint64_t stash_cursor;               // where the next block of the stash goes: every run begins at 0
	uint8_t *region[REGION_COUNT];       // NULL until allocated
	size_t mapped_bytes[REGION_COUNT];

	struct block gradient[2]; // the gradient that flows back, and the next one
	uint32_t gradient_current;
	struct block scratchpad, weight_temporary, plain_temporary, losses, squares;
	// The largest so far:
	uint64_t gradient_bytes, scratchpad_bytes, weight_temporary_bytes, plain_temporary_bytes;
	struct block input; // what write_input and load_images fill
	// With checkpoints: whose run of layers the stash holds, and what keys dropout when it is computed again.
	uint32_t held_slot, held_run;
	uint64_t *first_sample; // [slots]
	uint64_t *marks;        // [mark_count], ns
	uint32_t mark_count;
	float *mean_losses;  // [micro_batches]
	uint32_t *correct;   // [micro_batches]
	struct block labels; // kept
	bool has_labels;     // the program ends the model
};

static inline void *program_pointer(const struct program *program, const struct block *block, uint32_t slot)
{
	bool by_slot =
		block->region == REGION_KEPT || (block->region == REGION_STASH && program->checkpoint_interval == 0);
	uint64_t base = by_slot ? slot * program->region_bytes[block->region] : 0;
	return program->region[block->region] + base + block->offset;
}

// program.c
bool cpu_program_create(struct device *device, const struct program_spec *spec, struct program **ret_program,
			struct error *error);
bool cpu_program_allocate(struct program *program, struct error *error);
void cpu_program_destroy(struct program *program); // takes NULL, and half-built ones
void cpu_program_memory(const struct program *program, struct memory_use *ret_use);
bool program_reserve(struct program *program, enum region region, uint64_t bytes, struct block *ret_block,
		     struct error *error);
void program_need_scratchpad(struct program *program, uint64_t bytes);
bool program_run(struct program *program, struct kernel *kernel, void *const pointers[ARGUMENT_COUNT]);
// `kernel` NULL: a copy of so many bytes, of floats.
bool program_convert(struct program *program, struct kernel *kernel, const void *from, void *to, uint64_t bytes);
// Puts the layer's question about a pass. prepare gives it candidates.
void program_ask(struct program *program, struct layer_state *state, enum kernel_pass pass, const char *key,
		 bool (*run)(void *trial, uint32_t candidate));
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

// passes.c
// Every operation on a slot begins with it: the thread's team, the slot, and whether the program may.
bool program_enter(struct program *program, const char *operation, uint32_t slot, bool needs_training,
		   struct error *error);
// The layer's run is in the stash again, as its slot computed it.
bool program_hold(struct program *program, uint32_t slot, struct layer_state *state);
bool cpu_forward(struct program *program, uint32_t slot, uint32_t layer, uint64_t first_sample, struct error *error);
bool cpu_backward_weight(struct program *program, uint32_t slot, uint32_t layer, struct error *error);
bool cpu_backward_input(struct program *program, uint32_t slot, uint32_t layer, struct error *error);
bool cpu_synchronize(struct program *program, struct error *error);
bool cpu_mark(struct program *program, uint32_t mark, struct error *error);
bool cpu_elapsed(struct program *program, uint32_t from, uint32_t to, uint64_t *ret_ns, struct error *error);

// boundary.c: everything is done when these return; the completion is called before.
bool cpu_write_input(struct program *program, uint32_t slot, const void *values, struct device_completion completion,
		     struct error *error);
bool cpu_read_output(struct program *program, uint32_t slot, void *ret_values, struct device_completion completion,
		     struct error *error);
bool cpu_write_output_gradient(struct program *program, const void *values, struct device_completion completion,
			       struct error *error);
bool cpu_read_input_gradient(struct program *program, void *ret_values, struct device_completion completion,
			     struct error *error);

// parameters.c
bool parameters_prepare(struct program *program, struct error *error); // descriptions and plain layouts
bool parameters_place(struct program *program, struct error *error);
void parameters_release(struct program *program);
bool cpu_write_parameter(struct program *program, uint32_t parameter, const float *values, struct error *error);
bool cpu_read_parameter(struct program *program, uint32_t parameter, float *ret_values, struct error *error);
bool cpu_read_gradient(struct program *program, uint32_t parameter, float *ret_values,
		       struct device_completion completion, struct error *error);
bool cpu_write_gradient(struct program *program, uint32_t parameter, const float *values,
			struct device_completion completion, struct error *error);
bool cpu_zero_gradients(struct program *program, struct error *error);
bool cpu_gradient_squares(struct program *program, double *ret_squares, struct error *error);
// Where a gradient is nothing yet, makes it zeros.
float *parameter_gradient_values(struct program *program, struct parameter_state *parameter);

// optimizer.c
bool cpu_optimizer_step(struct program *program, const struct optimizer_step *step, struct error *error);

// input.c
bool cpu_load_images(struct program *program, uint32_t slot, const uint8_t *images, struct device_completion completion,
		     struct error *error);

// loss.c
bool loss_place(struct program *program, struct error *error);
bool cpu_load_labels(struct program *program, uint32_t slot, const uint8_t *labels, struct device_completion completion,
		     struct error *error);
bool cpu_loss(struct program *program, uint32_t slot, uint32_t micro_batch, struct error *error);
bool cpu_read_losses(struct program *program, uint32_t count, float *ret_losses, uint32_t *ret_correct,
		     struct error *error);
bool cpu_loss_backward(struct program *program, uint32_t slot, float scale, struct error *error);

extern const struct layer_class convolution_class, relu_class, max_pool_class, average_pool_class, flatten_class,
	dropout_class, linear_class;
