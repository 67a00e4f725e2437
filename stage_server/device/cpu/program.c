// Programs: from a run of layers to kernels, layouts and places in memory. Which kernels a layer uses is the layer's own
// affair (convolution.c, linear.c, ...); what is then done with them is in passes.c.
#include "stage_server/device/cpu/program.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cpu/convolution_methods.h"
#include "stage_server/device/cpu/cpu.h"
#include "stage_server/device/cpu/memory.h"
#include "stage_server/device/cpu/vector.h"
#include "stage_server/device/host_memory.h"
#include "stage_server/device/program_spec.h"

static const struct layer_class *const classes[] = {
	[LAYER_CONVOLUTION] = &convolution_class, [LAYER_RELU] = &relu_class,
	[LAYER_MAX_POOL] = &max_pool_class,       [LAYER_ADAPTIVE_AVERAGE_POOL] = &average_pool_class,
	[LAYER_FLATTEN] = &flatten_class,         [LAYER_DROPOUT] = &dropout_class,
	[LAYER_LINEAR] = &linear_class,
};

// A block or region beyond this is refused, so that no sum of sizes overflows: 2^47 * 65536 slots is below 2^64.
#define MAXIMUM_REGION_BYTES (1ull << 46)

bool program_reserve(struct program *program, enum region region, uint64_t bytes, struct block *ret_block,
		     struct error *error)
{
	if (bytes > MAXIMUM_REGION_BYTES || program->region_bytes[region] > MAXIMUM_REGION_BYTES)
		return error_set(error, ERROR_OUT_OF_MEMORY, "the program needs more than 64 TiB");
	uint64_t *cursor = region == REGION_STASH ? &program->stash_cursor : &program->region_bytes[region];
	*ret_block = (struct block){.region = region, .offset = *cursor, .bytes = bytes};
	*cursor += (bytes + BLOCK_ALIGNMENT - 1) / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT;
	if (*cursor > program->region_bytes[region])
		program->region_bytes[region] = *cursor;
	return true;
}

void program_need_scratchpad(struct program *program, uint64_t bytes)
{
	if (bytes > program->scratchpad_bytes)
		program->scratchpad_bytes = bytes;
}

bool program_run(struct program *program, struct kernel *kernel, void *const pointers[ARGUMENT_COUNT])
{
	omp_set_num_threads((int)program->device->threads); // of the calling thread, which may serve other programs
	return kernel_run(kernel, program_pointer(program, &program->scratchpad, 0), pointers);
}

bool program_convert(struct program *program, struct kernel *kernel, const void *from, void *to, uint64_t bytes)
{
	if (kernel == NULL) {
		vector_copy(program->device->threads, bytes / sizeof(float), from, to);
		return true;
	}
	return program_run(program, kernel,
			   (void *[ARGUMENT_COUNT]){
				   [ARGUMENT_SOURCE] = (void *)from,
				   [ARGUMENT_DESTINATION] = to,
			   });
}

bool program_reorder(struct program *program, const struct layout *from, const struct layout *to,
		     struct kernel **ret_kernel, struct error *error)
{
	if (!kernel_create_reorder(program->device->onednn, from, to, ret_kernel, error))
		return false;
	program_need_scratchpad(program, kernel_scratchpad_bytes(*ret_kernel));
	return true;
}

void program_ask(struct program *program, struct layer_state *state, enum kernel_pass pass, const char *key,
		 bool (*run)(void *trial, uint32_t candidate))
{
	struct choice *question = choices_add(&program->choices, state->index, key);
	state->trials[pass] = (struct trial){.program = program, .state = state, .pass = pass};
	question->run = run;
	question->context = &state->trials[pass];
	state->question[pass] = question;
}

// ---- building

static struct layout *plain_layout(uint32_t n, uint32_t rank, struct shape shape)
{
	int64_t dimensions[4] = {n, shape.channels, shape.height, shape.width};
	if (rank == 2)
		dimensions[1] = (int64_t)shape_count(shape);
	return layout_create_plain(rank, dimensions);
}

static bool build_layers(struct program *program, struct error *error)
{
	program->layers = calloc(program->layer_count, sizeof(program->layers[0]));
	if (program->layers == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	bool is_flat = false;
	for (uint32_t i = 0; i < program->first_layer; i++)
		is_flat = is_flat || program->model.layers[i].kind == LAYER_FLATTEN;
	for (uint32_t i = 0; i < program->layer_count; i++) {
		struct layer_state *state = &program->layers[i];
		state->index = program->first_layer + i;
		state->layer = &program->model.layers[state->index];
		state->class = classes[state->layer->kind];
		state->is_first = state->index == 0;
		state->rank = is_flat ? 2 : 4;
		is_flat = is_flat || state->layer->kind == LAYER_FLATTEN;
		state->output_rank = is_flat ? 2 : 4;
		state->plain_input = plain_layout(program->n, state->rank, state->layer->input);
		state->plain_output = plain_layout(program->n, state->output_rank, state->layer->output);
		if (state->plain_input == NULL || state->plain_output == NULL)
			return error_set(error, ERROR_OUT_OF_MEMORY, "layer %s: no layout for its tensors",
					 state->layer->name);
		state->heads_run = program->checkpoint_interval > 0 && i % program->checkpoint_interval == 0;
		if (i == 0 || state->layer->kind != LAYER_RELU)
			continue;
		enum layer_kind before = state[-1].layer->kind;
		state->done_before = before == LAYER_CONVOLUTION || before == LAYER_LINEAR;
		state[-1].relu_follows = state->done_before;
		// A max pool reads every value once more anyhow: it applies the ReLU to its few results instead.
		if (before == LAYER_CONVOLUTION && i + 1 < program->layer_count &&
		    state->layer[1].kind == LAYER_MAX_POOL) {
			state[-1].relu_follows = false;
			state[1].relu_before = true;
		}
	}
	return true;
}

// Where the layer's input arrives. The head of a checkpointed run reads it from where it is kept, and its run's stash begins.
static bool place_arriving(struct program *program, struct layer_state *state, struct error *error)
{
	bool is_first = state == &program->layers[0];
	if (!is_first)
		state->arriving = state[-1].output;
	else
		state->arriving.layout = state->wanted_input != NULL ? state->wanted_input : state->plain_input;
	uint64_t bytes = layout_bytes(state->arriving.layout);
	if (!state->heads_run)
		return !is_first || program_reserve(program, REGION_STASH, bytes, &state->arriving.block, error);
	program->stash_cursor = 0;
	if (!program_reserve(program, REGION_KEPT, bytes, &state->kept, error))
		return false;
	state->arriving.block = state->kept;
	return true;
}

// Forward: each layer's place, and a reorder where it wants its input otherwise than it comes.
static bool match_activations(struct program *program, struct error *error)
{
	for (uint32_t i = 0; i < program->layer_count; i++) {
		struct layer_state *state = &program->layers[i];
		if (!place_arriving(program, state, error))
			return false;
		state->input = state->arriving;
		if (i > 0 && state->wanted_input != NULL) {
			if (!program_reorder(program, state->arriving.layout, state->wanted_input,
					     &state->input_reorder, error))
				return error_wrap(error, "layer %s", state->layer->name);
			state->input.layout = state->wanted_input;
		}
		if (state->input_reorder != NULL &&
		    !program_reserve(program, REGION_STASH, layout_bytes(state->wanted_input), &state->input.block,
				     error))
			return false;
		if (state->class->place != NULL && !state->class->place(program, state, error))
			return error_wrap(error, "layer %s", state->layer->name);
		if (state->output.layout == NULL)
			state->output.layout = state->given_output;
		// What is kept must stay as it is: a layer that works in place gets a copy.
		state->copies_input =
			state->class->in_place && !state->done_before && state->output.block.region == REGION_KEPT;
		if (state->copies_input &&
		    !program_reserve(program, REGION_STASH, state->input.block.bytes, &state->output.block, error))
			return false;
	}
	struct layer_state *first = &program->layers[0], *last = program_last_layer(program);
	program->input = first->heads_run ? first->kept : first->arriving.block;
	return program_reorder(program, first->plain_input, first->arriving.layout, &program->input_import, error) &&
	       program_reorder(program, last->output.layout, last->plain_output, &program->output_export, error);
}

static void need_gradient(struct program *program, const struct layout *layout)
{
	if (layout_bytes(layout) > program->gradient_bytes)
		program->gradient_bytes = layout_bytes(layout);
}

// Backward: a reorder where a layer wants the gradient of its output otherwise than the layer behind it gives it.
static bool match_gradients(struct program *program, struct error *error)
{
	struct layer_state *last = program_last_layer(program);
	const struct layout *flowing = last->wanted_for_weight != NULL  ? last->wanted_for_weight
				       : last->wanted_for_input != NULL ? last->wanted_for_input
									: last->plain_output;
	need_gradient(program, flowing);
	if (!program_reorder(program, last->plain_output, flowing, &program->output_gradient_import, error))
		return false;
	for (uint32_t i = program->layer_count; i-- > 0;) {
		struct layer_state *state = &program->layers[i];
		if (state->wanted_for_weight != NULL) {
			if (!program_reorder(program, flowing, state->wanted_for_weight, &state->reorder_for_weight,
					     error))
				return error_wrap(error, "layer %s", state->layer->name);
			flowing = state->wanted_for_weight;
			need_gradient(program, flowing);
		}
		if (state->is_first)
			return true; // nobody asks for the gradient of the images
		if (state->wanted_for_input != NULL) {
			if (!program_reorder(program, flowing, state->wanted_for_input, &state->reorder_for_input,
					     error))
				return error_wrap(error, "layer %s", state->layer->name);
			flowing = state->wanted_for_input;
			need_gradient(program, flowing);
		}
		if (state->given_gradient != NULL)
			flowing = state->given_gradient;
		need_gradient(program, flowing);
	}
	return program_reorder(program, flowing, program->layers[0].plain_input, &program->input_gradient_export,
			       error);
}

static void need_plain_temporary(struct program *program, const struct layout *layout)
{
	if (layout_bytes(layout) > program->plain_temporary_bytes)
		program->plain_temporary_bytes = layout_bytes(layout);
}

static bool ask(struct program *program, struct error *error)
{
	if (!choices_init(&program->choices, 3 * program->layer_count, error))
		return false;
	for (uint32_t i = 0; i < program->layer_count; i++)
		if (program->layers[i].class->ask != NULL)
			program->layers[i].class->ask(program, &program->layers[i]);
	return choices_recall(&program->choices, program->chooser, error);
}

static bool build(struct program *program, struct error *error)
{
	if (!build_layers(program, error) || !parameters_prepare(program, error) || !ask(program, error))
		return false;
	for (uint32_t i = 0; i < program->layer_count; i++) {
		struct layer_state *state = &program->layers[i];
		if (state->class->prepare != NULL && !state->class->prepare(program, state, error))
			return error_wrap(error, "layer %s", state->layer->name);
	}
	if (!match_activations(program, error) || (program->training && !match_gradients(program, error)) ||
	    !parameters_place(program, error) || !loss_place(program, error))
		return false;
	// Images are resized in plain layout first where the first layer wants another; what crosses a boundary is widened and
	// narrowed in plain layout.
	if (program->boundary_type != DATA_FLOAT32 || (program->first_layer == 0 && program->input_import != NULL))
		need_plain_temporary(program, program->layers[0].plain_input);
	if (program->boundary_type != DATA_FLOAT32)
		need_plain_temporary(program, program_last_layer(program)->plain_output);
	return program_reserve(program, REGION_WORKSPACE, program->gradient_bytes, &program->gradient[0], error) &&
	       program_reserve(program, REGION_WORKSPACE, program->gradient_bytes, &program->gradient[1], error) &&
	       program_reserve(program, REGION_WORKSPACE, program->weight_temporary_bytes, &program->weight_temporary,
			       error) &&
	       program_reserve(program, REGION_WORKSPACE, program->plain_temporary_bytes, &program->plain_temporary,
			       error) &&
	       program_reserve(program, REGION_WORKSPACE, program->scratchpad_bytes, &program->scratchpad, error);
}

static bool has_layer(uint32_t kind)
{
	return kind < sizeof(classes) / sizeof(classes[0]) && classes[kind] != NULL;
}

static bool check_spec(const struct program_spec *spec, struct error *error)
{
	if (!program_spec_check(spec, has_layer, error))
		return false;
	return spec->compute_type == DATA_FLOAT32 ||
	       error_set(error, ERROR_USAGE,
			 "the device cpu computes in float32, not in %s: use --precision fp32, or a daemon with a GPU",
			 data_type_name(spec->compute_type));
}

bool cpu_program_create(struct device *device, const struct program_spec *spec, struct program **ret_program,
			struct error *error)
{
	if (!check_spec(spec, error))
		return false;
	struct program *program = calloc(1, sizeof(*program));
	if (program == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	program->device = device;
	program->model = *spec->model;
	program->first_layer = spec->first_layer;
	program->end_layer = spec->end_layer;
	program->layer_count = spec->end_layer - spec->first_layer;
	program->n = spec->micro_batch_size;
	program->micro_batches = spec->micro_batches;
	program->slots = spec->slots;
	program->optimizer = spec->optimizer;
	program->seed = spec->seed;
	program->training = spec->training;
	program->boundary_type = spec->boundary_type;
	program->checkpoint_interval = spec->training ? spec->checkpoint_interval : 0;
	program->held_slot = spec->slots; // none
	program->raw_image_size = spec->raw_image_size;
	program->chooser = spec->chooser;
	program->stopped = spec->stopped;
	program->beside_bytes = spec->beside_bytes;
	memcpy(program->mean, spec->mean, sizeof(program->mean));
	memcpy(program->standard_deviation, spec->standard_deviation, sizeof(program->standard_deviation));
	program->has_labels = spec->end_layer == spec->model->layer_count;
	program->mark_count = spec->marks;
	program->first_sample = calloc(spec->slots, sizeof(program->first_sample[0]));
	program->marks = calloc((size_t)spec->marks + 1, sizeof(program->marks[0]));
	program->mean_losses = calloc(spec->micro_batches, sizeof(program->mean_losses[0]));
	program->correct = calloc(spec->micro_batches, sizeof(program->correct[0]));
	if (program->first_sample == NULL || program->marks == NULL || program->mean_losses == NULL ||
	    program->correct == NULL) {
		cpu_program_destroy(program);
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	}
	// oneDNN shares work out by the number of threads that it finds when a kernel is made.
	int threads_before = omp_get_max_threads();
	omp_set_num_threads((int)device->threads);
	bool built = build(program, error);
	omp_set_num_threads(threads_before);
	if (!built) {
		cpu_program_destroy(program);
		return false;
	}
	*ret_program = program;
	return true;
}

// ---- memory

static uint64_t mapped_bytes(const struct program *program, enum region region)
{
	uint64_t bytes = program->region_bytes[region];
	if (region == REGION_KEPT || (region == REGION_STASH && program->checkpoint_interval == 0))
		bytes *= program->slots;
	return (bytes + MEMORY_PAGE_BYTES - 1) / MEMORY_PAGE_BYTES * MEMORY_PAGE_BYTES;
}

void cpu_program_memory(const struct program *program, struct memory_use *ret_use)
{
	*ret_use = (struct memory_use){
		.parameter_bytes = mapped_bytes(program, REGION_PARAMETERS),
		.gradient_bytes = mapped_bytes(program, REGION_GRADIENTS),
		.optimizer_bytes = mapped_bytes(program, REGION_OPTIMIZER),
		.stash_bytes = mapped_bytes(program, REGION_STASH) + mapped_bytes(program, REGION_KEPT),
		.workspace_bytes = mapped_bytes(program, REGION_WORKSPACE),
	};
}

static bool settle(struct program *program, struct error *error)
{
	int threads_before = omp_get_max_threads();
	omp_set_num_threads((int)program->device->threads);
	bool ok = choices_settle(&program->choices, program->chooser, error);
	omp_set_num_threads(threads_before);
	for (uint32_t i = 0; i < program->layer_count && ok; i++)
		if (program->layers[i].class->settle != NULL)
			program->layers[i].class->settle(program, &program->layers[i]);
	program->chooser = NULL;
	return ok;
}

bool cpu_program_allocate(struct program *program, struct error *error)
{
	struct memory_use use;
	cpu_program_memory(program, &use);
	bool mapped = host_memory_check(memory_use_total(&use) + program->beside_bytes, error);
	for (enum region region = 0; region < REGION_COUNT && mapped; region++) {
		program->mapped_bytes[region] = mapped_bytes(program, region);
		mapped = memory_map(program->mapped_bytes[region], &program->region[region], error);
	}
	return mapped && settle(program, error);
}

static void layer_release(struct layer_state *state)
{
	struct kernel *kernels[] = {state->input_reorder,   state->reorder_for_weight, state->reorder_for_input,
				    state->weights_reorder, state->backward_input,     state->forward};
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
		kernel_destroy(kernels[i]);
	convolution_methods_destroy(state->methods);
	convolution_methods_destroy(state->trial);
	layout_destroy(state->plain_input);
	layout_destroy(state->plain_output);
}

void cpu_program_destroy(struct program *program)
{
	if (program == NULL)
		return;
	for (enum region region = 0; region < REGION_COUNT; region++)
		memory_unmap(program->region[region], program->mapped_bytes[region]);
	parameters_release(program);
	kernel_destroy(program->input_import);
	kernel_destroy(program->output_export);
	kernel_destroy(program->output_gradient_import);
	kernel_destroy(program->input_gradient_export);
	for (uint32_t i = 0; program->layers != NULL && i < program->layer_count; i++)
		layer_release(&program->layers[i]);
	free(program->layers);
	choices_fini(&program->choices);
	free(program->first_sample);
	free(program->marks);
	free(program->mean_losses);
	free(program->correct);
	free(program);
}
