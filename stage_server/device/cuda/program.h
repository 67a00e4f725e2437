// What the files of the CUDA device share: a program is layers with their plans and places in six regions of the GPU's memory, all
// known before the first byte is allocated, and three streams.
//
// Layout. Activations and their gradients are NHWC in the compute type: (N, P, C) with P = H * W positions and C channels
// innermost; after flatten P is 1 and C the features in PyTorch's order. Only images may have more channels than the model says,
// zeros, since the tensor cores want multiples of 16 bytes. Parameters, gradients and optimizer state are float32, each one
// contiguous region with every parameter at the same place in all of them, so that the optimizer is one kernel over everything;
// a 16-bit program has a copy of the values in its type, too, which that kernel writes. Convolution weights are (K, R, S, C)
// in all of them.
//
// Order. Whatever reads or writes a slot, a parameter or a gradient is issued on the compute stream, so its order there is the order of
// issue. The copy streams touch landing and departure buffers only, and events order those (transfers.c); and gradients of replicas,
// on their way out and in, which events order, too (gradients.c).
//
// How bits stay the same wherever a model is cut: each layer chooses its kernels from its own shape alone, no kernel adds up in
// an order that depends on chance, and changes of layout are exact.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/random.h"
#include "stage_server/device/cuda/convolution_plans.h"
#include "stage_server/device/cuda/matmul.h"
#include "stage_server/device/cuda/nccl.h"
#include "stage_server/device/cuda/nvml.h"
#include "stage_server/device/device.h"

struct completions;

// The most that a plan of cuDNN or an algorithm of cuBLASLt may ask for; convolution_plans_limit says where it is more.
#define CUDA_WORKSPACE_LIMIT_BYTES (256ull << 20)

struct device {
	int gpu; // as CUDA numbers them
	struct nvml_gpu nvml;
	char description[128];
	char machine[160];
	bool has_nccl;
	uint64_t physical_bytes;
	int capability; // 90: compute capability 9.0
};

// Alignment of every block in bytes; parameters lie at multiples of as many elements as fill it in the narrowest type.
enum { BLOCK_ALIGNMENT = 256, PARAMETER_ALIGNMENT = 128 };

enum region {
	REGION_PARAMETERS,
	REGION_GRADIENTS,
	REGION_OPTIMIZER,
	REGION_STASH,     // what a slot keeps for its backward pass; one part a slot
	REGION_SHARED,    // what all slots compute again, or need only while they go forward
	REGION_WORKSPACE, // everything else
	REGION_COUNT,
};

// A place in a region; in the stash there is one per slot.
struct block {
	enum region region;
	uint64_t offset, bytes;
};

// A tensor between layers: (N, positions, channels) in the compute type.
struct value {
	struct block block;
	uint32_t positions, channels;
	bool is_saved; // a run of layers is computed again from it: nothing may work in place here (checkpoint.c)
};

struct parameter_state {
	struct parameter description;
	uint64_t place;             // in elements, the same in all regions that hold parameters
	uint32_t filters, channels; // of a convolution's weight (K, C, R, S), which lies as (K, R, S, C) here;
	uint32_t positions;         // R * S; 0 for all others, which lie as in PyTorch
	uint32_t padded_channels;   // of `padded`
	struct block padded;        // the weight in the compute type with more channels; no bytes: not needed
	bool gradient_is_zero;      // nothing was added since zero_gradients: the next pass overwrites
	cudaEvent_t settled, moved; // of the gradient, with replicas: gradients.c
	bool is_settled, is_moving; // compute has issued nothing on it since `settled`; it does not know of `moved` yet
};

struct program;
struct layer_state;

// One kind of layer. `ask` puts the layer's questions, from its shape alone; `prepare` makes plans, offers them as candidates and
// reserves memory, when its input's place is known; `settle`, when the questions are answered, takes the answers.
// `keeps_place`: the output lies where the input does, unless that is a saved one. A NULL operation does nothing; a NULL
// keeps_place says no.
struct layer_class {
	bool (*keeps_place)(const struct program *program, const struct layer *layer);
	void (*ask)(struct program *program, struct layer_state *state);
	bool (*prepare)(struct program *program, struct layer_state *state, struct error *error);
	void (*settle)(struct program *program, struct layer_state *state);
	bool (*forward)(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample,
			struct error *error);
	bool (*backward_weight)(struct program *program, struct layer_state *state, uint32_t slot, struct error *error);
	bool (*backward_input)(struct program *program, struct layer_state *state, uint32_t slot, struct error *error);
};

// The first three are enum convolution_pass; a linear layer has one product for a gradient that is written and one for a gradient
// that is added.
enum pass { PASS_FORWARD, PASS_BACKWARD_INPUT, PASS_BACKWARD_WEIGHT, PASS_ADD_WEIGHT, PASS_COUNT };

// What a candidate is tried for.
struct trial {
	struct program *program;
	struct layer_state *state;
	enum pass pass;
	bool (*issue)(const struct trial *trial, uint32_t candidate, struct error *error); // on the compute stream
};

struct layer_state {
	const struct layer *layer; // of program->model
	const struct layer_class *class;
	uint32_t index;    // of the model
	uint32_t run;      // of layers that are computed again together
	bool is_first;     // of the model: no gradient of its input is wanted
	bool relu_follows; // and is computed here
	bool done_before;  // a ReLU whose forward the layer before it computes
	// ReLU's backward pass selects: done by a neighbour that has the gradient at hand, it gives the same bits. A max pool does that of
	// the ReLU before it; where none is behind the ReLU, a convolution's or linear layer's backward_weight begins with it.
	bool does_relu_backward;
	bool is_backward_elsewhere; // a ReLU whose backward pass one of the two does
	struct value input, output;
	struct parameter_state *weight, *bias;
	struct convolution_plans *plans[3];  // convolution, by pass; NULL: not needed
	struct matmul *products[PASS_COUNT]; // linear, by pass; NULL: not needed
	struct choice *question[PASS_COUNT]; // NULL: nothing is asked
	struct trial trials[PASS_COUNT];     // of those
	uint32_t choice[PASS_COUNT];         // among its candidates; 0 until settled
	struct block kept;                   // dropout's mask, max pool's places: a byte an element
	struct random_key key;               // dropout
};

// A run of layers that is computed again together, from its input, which its slot keeps.
struct layer_run {
	uint32_t begin, end;       // in program->layers
	uint32_t end_of_recompute; // what lies behind gives only the next run's input, which is kept, too
};

// A buffer between a copy stream and the compute stream. Landing: filled by copy-in, `free` once compute has read it. Departure: filled
// by compute, `free` once copy-out has read it.
struct station {
	struct block block;
	cudaEvent_t full, free;
};

struct program {
	struct device *device; // borrowed
	bool has_context;      // counted by context.h
	struct model model;
	uint32_t first_layer, end_layer, layer_count;
	uint32_t n; // micro-batch size
	uint32_t micro_batches, slots, mark_count;
	struct optimizer optimizer;
	enum data_type type, boundary_type; // of what is computed, of what crosses a boundary
	bool allow_tf32;
	uint64_t seed;
	bool training;
	bool replicas;   // and training
	bool in_group;   // spec.group, and training
	bool has_labels; // the program ends the model, and in one value a class
	uint32_t raw_image_size;
	float mean[3], standard_deviation[3];
	const _Atomic(bool) *stopped; // borrowed while the program is made
	uint64_t beside_bytes;        // see program_spec

	struct layer_state *layers;    // [layer_count]
	struct choices choices;        // that the layers ask for
	const struct chooser *chooser; // borrowed while the program is made
	struct layer_run *runs;        // [run_count]
	uint32_t run_count;
	enum region inner_region; // of what lies inside a run: the stash, or shared
	uint64_t *first_samples;  // [slots]: of each slot's last forward pass
	uint32_t held_slot;       // whose run lies in the shared region; `slots`: nobody's
	uint32_t held_run;
	uint64_t shared_most; // bytes of the largest run so far, while memory is planned

	struct parameter_state *parameters; // [parameter_count]
	uint32_t first_parameter, parameter_count;
	uint64_t floats;                          // of all parameters, gaps included
	struct block values, gradients, state[2]; // [floats]
	struct block copy;                        // [floats] in the type; no bytes for float32
	bool momentum_is_unset;                   // SGD's first step with a momentum sets the buffer

	uint64_t region_bytes[REGION_COUNT]; // reserved; the stash: of one slot
	uint8_t *region[REGION_COUNT];       // NULL until allocated

	struct block gradient[2]; // the gradient that flows back, and the next one
	uint32_t gradient_current;
	struct block scratch;          // of one kernel, while it runs
	struct block weight_temporary; // a weight in another layout, or its gradient of one micro-batch
	uint64_t gradient_bytes, scratch_bytes, weight_temporary_bytes; // the largest so far
	struct block losses, correct;                                   // [micro_batches] float, uint32_t
	struct block squares;                                           // [parameter_count] double
	struct block gradient_landing, gradient_departure; // a convolution's gradient as PyTorch has it; with replicas
	struct block labels;                               // (N), in the stash

	cudnnHandle_t cudnn;
	cublasLtHandle_t cublas;
	cudaStream_t compute, copy_in, copy_out;
	cudaStream_t reduce; // NULL without a group
	struct station landing[2], departure[2];
	uint32_t landing_next, departure_next;
	struct completions *landed, *departed;
	cudaEvent_t *marks; // [mark_count], with time

	// group.c
	ncclComm_t communicator;            // NULL: in no group
	const _Atomic(bool) *group_stopped; // borrowed from group_join on
	cudaEvent_t reduced;                // on reduce, behind the last reduction
	bool is_reducing;                   // it is not known that all reductions are over

	bool failed;        // a fault of the device: nothing is issued any more
	struct error fault; // what it was; operations put their errors here first
};

static inline void *program_pointer(const struct program *program, const struct block *block, uint32_t slot)
{
	uint64_t base = block->region == REGION_STASH ? slot * program->region_bytes[REGION_STASH] : 0;
	return program->region[block->region] + base + block->offset;
}

static inline void *program_gradient(const struct program *program)
{
	return program_pointer(program, &program->gradient[program->gradient_current], 0);
}

static inline void *program_next_gradient(const struct program *program)
{
	return program_pointer(program, &program->gradient[1 - program->gradient_current], 0);
}

static inline void program_swap_gradients(struct program *program)
{
	program->gradient_current = 1 - program->gradient_current;
}

static inline struct layer_state *program_last_layer(const struct program *program)
{
	return &program->layers[program->layer_count - 1];
}

static inline uint64_t value_count(const struct program *program, const struct value *value)
{
	return (uint64_t)program->n * value->positions * value->channels;
}

static inline uint64_t value_bytes(const struct program *program, const struct value *value)
{
	return value_count(program, value) * data_type_bytes(program->type);
}

// program.c
bool cuda_program_create(struct device *device, const struct program_spec *spec, struct program **ret_program,
			 struct error *error);
bool cuda_program_allocate(struct program *program, struct error *error);
void cuda_program_destroy(struct program *program); // takes NULL, and half-built ones

// memory.c
bool cuda_reserve(struct program *program, enum region region, uint64_t bytes, struct block *ret_block,
		  struct error *error);
void cuda_need_scratch(struct program *program, uint64_t bytes);
void cuda_need_weight_temporary(struct program *program, uint64_t bytes);
// Where a layer's output goes: a place of its own, or its input's where that may be overwritten. Reads the class and the run.
// Of the layer's input; images are padded where the tensor cores compute the convolution.
uint32_t cuda_input_channels(const struct program *program, const struct layer_state *state);
bool cuda_place_output(struct program *program, struct layer_state *state, struct error *error);
// Brings the input to the output's place, where it is another: what a layer that works in place begins with.
bool cuda_bring_input(struct program *program, const struct layer_state *state, uint32_t slot, struct error *error);
bool cuda_allocate(struct program *program, struct error *error); // all regions, zeroed
bool cuda_zero(struct program *program, struct error *error);     // all of them, and waits
void cuda_release(struct program *program);
void cuda_program_memory(const struct program *program, struct memory_use *ret_use);

// passes.c
// Every operation on a program begins and ends with these. enter: false, with an error that ends nothing but the call, where the slot
// is not one or the program is not for training; or with the fault that was. leave: makes program->fault the caller's error and the
// program a failed one where `ok` is false.
bool cuda_enter(struct program *program, const char *operation, uint32_t slot, bool needs_training,
		struct error *error);
bool cuda_leave(struct program *program, bool ok, struct error *error, const char *operation, ...)
	__attribute__((format(printf, 4, 5)));
bool cuda_forward(struct program *program, uint32_t slot, uint32_t layer, uint64_t first_sample, struct error *error);
bool cuda_backward_weight(struct program *program, uint32_t slot, uint32_t layer, struct error *error);
bool cuda_backward_input(struct program *program, uint32_t slot, uint32_t layer, struct error *error);
bool cuda_synchronize(struct program *program, struct error *error);
bool cuda_mark(struct program *program, uint32_t mark, struct error *error);
bool cuda_elapsed(struct program *program, uint32_t from, uint32_t to, uint64_t *ret_ns, struct error *error);

// elementwise.c
// Of a layer with a bias, before anything else reads the gradient of its output: the bias's gradient, and ReLU's backward pass where
// the layer does it. The slot's output of the layer is there.
bool cuda_bias_backward(struct program *program, const struct layer_state *state, uint32_t slot, struct error *error);

// checkpoint.c
bool cuda_checkpoint_prepare(struct program *program, uint32_t interval,
			     struct error *error); // runs, and who is in which
void cuda_checkpoint_begin_forward(struct program *program, const struct layer_state *state, uint32_t slot,
				   uint64_t first_sample);
// Sees to it that what the layer's backward pass reads is there.
bool cuda_checkpoint_restore(struct program *program, const struct layer_state *state, uint32_t slot,
			     struct error *error);

// transfers.c
bool cuda_record(cudaEvent_t event, cudaStream_t stream, struct error *error);
bool cuda_wait_for(cudaStream_t stream, cudaEvent_t event, struct error *error); // on the GPU, not here
// Calls the completion when what was issued on the stream is over; without one, waits for it.
bool cuda_complete(struct program *program, struct completions *completions, cudaStream_t stream,
		   struct device_completion completion);
bool cuda_transfers_plan(struct program *program, struct error *error);
bool cuda_transfers_create(struct program *program, struct error *error);
void cuda_transfers_destroy(struct program *program);  // calls every completion; takes half-made ones
bool cuda_transfers_rehearse(struct program *program); // issues each kernel of a boundary, on what is there
bool cuda_load_images(struct program *program, uint32_t slot, const uint8_t *images,
		      struct device_completion completion, struct error *error);
bool cuda_load_labels(struct program *program, uint32_t slot, const uint8_t *labels,
		      struct device_completion completion, struct error *error);
bool cuda_write_input(struct program *program, uint32_t slot, const void *values, struct device_completion completion,
		      struct error *error);
bool cuda_read_output(struct program *program, uint32_t slot, void *ret_values, struct device_completion completion,
		      struct error *error);
bool cuda_write_output_gradient(struct program *program, const void *values, struct device_completion completion,
				struct error *error);
bool cuda_read_input_gradient(struct program *program, void *ret_values, struct device_completion completion,
			      struct error *error);

// parameters.c
bool cuda_parameters_prepare(struct program *program, struct error *error);
// The weights of a convolution of that many channels, not fewer than the model says, which the layer asks for in its prepare.
bool cuda_parameters_pad(struct program *program, struct parameter_state *weight, uint32_t channels,
			 struct error *error);
void *cuda_parameter_weights(const struct program *program,
			     const struct parameter_state *weight); // as kernels read them
struct parameter_state *cuda_parameter_find(struct program *program, uint32_t index, struct error *error);
float *cuda_parameter_values(const struct program *program, const struct parameter_state *parameter);
float *cuda_parameter_gradient(const struct program *program, const struct parameter_state *parameter);
// A parameter's count of floats, issued on `stream`: between the host's memory, or another stage's, as PyTorch has them, and where
// they lie here. A convolution's go through `plain`.
bool cuda_floats_in(struct program *program, const struct parameter_state *parameter, cudaStream_t stream,
		    const float *values, float *plain, float *to);
bool cuda_floats_out(struct program *program, const struct parameter_state *parameter, cudaStream_t stream,
		     const float *from, float *plain, float *ret_values);
bool cuda_write_parameter(struct program *program, uint32_t parameter, const float *values, struct error *error);
bool cuda_read_parameter(struct program *program, uint32_t parameter, float *ret_values, struct error *error);
bool cuda_optimizer_step(struct program *program, const struct optimizer_step *step, struct error *error);
bool cuda_parameters_rehearse(struct program *program); // issues each kernel of these, on what is there: rehearsal.c

// gradients.c
bool cuda_gradients_plan(struct program *program, struct error *error);
bool cuda_gradients_create(struct program *program, struct error *error);
void cuda_gradients_destroy(struct program *program); // takes half-made ones
// Before the compute stream uses a gradient in any way: it waits for the copies of it.
bool cuda_gradient_take(struct program *program, struct parameter_state *parameter);
// The same before it reads one: makes zeros of what is to be zero. The next pass overwrites them none the less.
bool cuda_gradient_fill(struct program *program, struct parameter_state *parameter);
bool cuda_read_gradient(struct program *program, uint32_t parameter, float *ret_values,
			struct device_completion completion, struct error *error);
bool cuda_write_gradient(struct program *program, uint32_t parameter, const float *values,
			 struct device_completion completion, struct error *error);
bool cuda_zero_gradients(struct program *program, struct error *error);
bool cuda_gradient_squares(struct program *program, double *ret_squares, struct error *error);
bool cuda_gradients_rehearse(struct program *program); // issues the kernels of these

// A gradient's way on another stream than compute: what is issued on that stream between the two. On compute itself they see to it that
// the moves are over.
bool cuda_gradient_begin_move(struct program *program, struct parameter_state *parameter, cudaStream_t stream);
bool cuda_gradient_end_move(struct program *program, struct parameter_state *parameter, cudaStream_t stream);

// group.c
bool cuda_group_id(struct device *device, uint8_t *ret_id, struct error *error);
bool cuda_group_join(struct program *program, const uint8_t *id, uint32_t replicas, uint32_t replica,
		     const _Atomic(bool) *stopped, struct error *error);
bool cuda_group_reduce(struct program *program, uint32_t layer, struct error *error);
bool cuda_group_wait(struct program *program, struct error *error);
// Before the thread waits for the compute stream, as copies to memory that is not pinned do: waits for the reductions, and can be
// stopped. False: program->fault.
bool cuda_group_finish(struct program *program);
void cuda_group_abort(struct program *program); // ends all reductions, done or not; does nothing in no group
void cuda_group_leave(struct program *program); // in good order where that is possible

// rehearsal.c
// Once everything is allocated and chosen: launches whatever a step may, so that no step is the first to. All memory is zero afterwards.
bool cuda_rehearse(struct program *program, struct error *error);

// loss.c
bool cuda_loss_plan(struct program *program, struct error *error);
bool cuda_loss(struct program *program, uint32_t slot, uint32_t micro_batch, struct error *error);
bool cuda_read_losses(struct program *program, uint32_t count, float *ret_losses, uint32_t *ret_correct,
		      struct error *error);
bool cuda_loss_backward(struct program *program, uint32_t slot, float scale, struct error *error);

extern const struct layer_class cuda_convolution_class, cuda_relu_class, cuda_max_pool_class, cuda_average_pool_class,
	cuda_flatten_class, cuda_dropout_class, cuda_linear_class;
