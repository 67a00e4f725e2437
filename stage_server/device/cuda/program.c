// Programs: from a run of layers to plans and places in memory. All of it is planned first, allocated then, and settled by timing last;
// nothing is allocated and no plan, handle or event made after that.
#include "stage_server/device/cuda/program.h"

#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cuda/context.h"
#include "stage_server/device/cuda/status.h"
#include "stage_server/device/program_spec.h"
#include "stage_server/device/host_memory.h"

static const struct layer_class *const classes[] = {
	[LAYER_CONVOLUTION] = &cuda_convolution_class, [LAYER_RELU] = &cuda_relu_class,
	[LAYER_MAX_POOL] = &cuda_max_pool_class,       [LAYER_ADAPTIVE_AVERAGE_POOL] = &cuda_average_pool_class,
	[LAYER_FLATTEN] = &cuda_flatten_class,         [LAYER_DROPOUT] = &cuda_dropout_class,
	[LAYER_LINEAR] = &cuda_linear_class,
};

static bool is_stopped(const struct program *program)
{
	return program->stopped != NULL && *program->stopped;
}

// ---- the specification

static bool has_layer(uint32_t kind)
{
	return kind < sizeof(classes) / sizeof(classes[0]) && classes[kind] != NULL;
}

static bool check_spec(const struct device *device, const struct program_spec *spec, struct error *error)
{
	if (!program_spec_check(spec, has_layer, error))
		return false;
	return spec->compute_type != DATA_BFLOAT16 || device->capability >= 80 ||
	       error_set(error, ERROR_USAGE,
			 "GPU %d (%s) does not compute in bfloat16: use --precision fp16 or --precision fp32",
			 device->gpu, device->description);
}

// ---- building

// Who does what of a ReLU, within the program: a neighbour in another one may be another kind of device's.
static void share_relu(struct layer_state *state, bool is_head, bool is_tail)
{
	const struct layer *layer = state->layer;
	if (layer->kind != LAYER_RELU)
		return;
	bool is_before_pool = !is_tail && layer[1].kind == LAYER_MAX_POOL;
	if (is_before_pool)
		state[1].does_relu_backward = true;
	state->done_before = !is_head && (layer[-1].kind == LAYER_CONVOLUTION || layer[-1].kind == LAYER_LINEAR);
	if (state->done_before) {
		state[-1].relu_follows = true;
		state[-1].does_relu_backward = !is_before_pool;
	}
	state->is_backward_elsewhere = state->done_before || is_before_pool;
}

static bool build_layers(struct program *program, struct error *error)
{
	program->layers = calloc(program->layer_count, sizeof(program->layers[0]));
	if (program->layers == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	for (uint32_t i = 0; i < program->layer_count; i++) {
		struct layer_state *state = &program->layers[i];
		state->index = program->first_layer + i;
		state->layer = &program->model.layers[state->index];
		state->class = classes[state->layer->kind];
		state->is_first = state->index == 0;
		share_relu(state, i == 0, i + 1 == program->layer_count);
	}
	return true;
}

// Channels of images that a convolution reads: as many as fill 16 bytes, where the tensor cores compute it.
static uint32_t image_channels(const struct program *program)
{
	if (program->type != DATA_FLOAT32)
		return 8;
	return program->allow_tf32 ? 4 : 3;
}

uint32_t cuda_input_channels(const struct program *program, const struct layer_state *state)
{
	uint32_t channels = state->layer->input.channels;
	bool has_images = state->is_first && state->layer->kind == LAYER_CONVOLUTION;
	return has_images && image_channels(program) > channels ? image_channels(program) : channels;
}

static bool place_input(struct program *program, struct error *error)
{
	struct layer_state *first = &program->layers[0];
	struct shape shape = first->layer->input;
	first->input = (struct value){.positions = shape.height * shape.width,
				      .channels = cuda_input_channels(program, first)};
	return cuda_reserve(program, REGION_STASH, value_bytes(program, &first->input), &first->input.block, error);
}

static void need_gradient(struct program *program, const struct value *value)
{
	if (value_bytes(program, value) > program->gradient_bytes)
		program->gradient_bytes = value_bytes(program, value);
}

// What lies inside a run begins where the run before it began.
static void begin_run(struct program *program, struct layer_state *state)
{
	uint64_t *bytes = &program->region_bytes[REGION_SHARED];
	if (*bytes > program->shared_most)
		program->shared_most = *bytes;
	*bytes = 0;
	state->input.is_saved = program->training && program->inner_region == REGION_SHARED;
}

static bool prepare_layers(struct program *program, struct error *error)
{
	for (uint32_t i = 0; i < program->layer_count; i++) {
		struct layer_state *state = &program->layers[i];
		if (i > 0)
			state->input = state[-1].output;
		state->input.is_saved = false;
		if (i == program->runs[state->run].begin)
			begin_run(program, state);
		if (!state->class->prepare(program, state, error))
			return error_wrap(error, "layer %s", state->layer->name);
		if (program->training)
			need_gradient(program, &state->output);
		if (program->training && !state->is_first)
			need_gradient(program, &state->input);
		if (is_stopped(program))
			return error_set(error, ERROR_CANCELLED, "stopped");
	}
	if (program->shared_most > program->region_bytes[REGION_SHARED])
		program->region_bytes[REGION_SHARED] = program->shared_most;
	return true;
}

static bool ask(struct program *program, struct error *error)
{
	if (!choices_init(&program->choices, PASS_COUNT * program->layer_count, error))
		return false;
	for (uint32_t i = 0; i < program->layer_count; i++)
		if (program->layers[i].class->ask != NULL)
			program->layers[i].class->ask(program, &program->layers[i]);
	return choices_recall(&program->choices, program->chooser, error);
}

static bool build(struct program *program, uint32_t checkpoint_interval, struct error *error)
{
	return build_layers(program, error) && ask(program, error) &&
	       cuda_checkpoint_prepare(program, checkpoint_interval, error) &&
	       cuda_parameters_prepare(program, error) && place_input(program, error) &&
	       prepare_layers(program, error) && cuda_loss_plan(program, error) &&
	       cuda_transfers_plan(program, error) &&
	       cuda_reserve(program, REGION_WORKSPACE, program->gradient_bytes, &program->gradient[0], error) &&
	       cuda_reserve(program, REGION_WORKSPACE, program->gradient_bytes, &program->gradient[1], error) &&
	       cuda_reserve(program, REGION_WORKSPACE, program->weight_temporary_bytes, &program->weight_temporary,
			    error) &&
	       cuda_reserve(program, REGION_WORKSPACE, program->scratch_bytes, &program->scratch, error);
}

static struct program *program_of(struct device *device, const struct program_spec *spec)
{
	struct program *program = calloc(1, sizeof(*program));
	if (program == NULL)
		return NULL;
	program->device = device;
	program->model = *spec->model;
	program->first_layer = spec->first_layer;
	program->end_layer = spec->end_layer;
	program->layer_count = spec->end_layer - spec->first_layer;
	program->n = spec->micro_batch_size;
	program->micro_batches = spec->micro_batches;
	program->slots = spec->slots;
	program->mark_count = spec->marks;
	program->optimizer = spec->optimizer;
	program->type = spec->compute_type;
	program->boundary_type = spec->boundary_type;
	program->allow_tf32 = spec->allow_tf32 && spec->compute_type == DATA_FLOAT32;
	program->seed = spec->seed;
	program->training = spec->training;
	program->replicas = spec->replicas && spec->training;
	program->in_group = spec->group && spec->training;
	struct shape output = spec->model->layers[spec->end_layer - 1].output;
	program->has_labels = spec->end_layer == spec->model->layer_count && output.height * output.width == 1;
	program->raw_image_size = spec->raw_image_size;
	program->chooser = spec->chooser;
	program->stopped = spec->stopped;
	program->beside_bytes = spec->beside_bytes;
	memcpy(program->mean, spec->mean, sizeof(program->mean));
	memcpy(program->standard_deviation, spec->standard_deviation, sizeof(program->standard_deviation));
	return program;
}

// Everything but the memory, the streams and the events.
bool cuda_program_create(struct device *device, const struct program_spec *spec, struct program **ret_program,
			 struct error *error)
{
	if (!check_spec(device, spec, error))
		return false;
	struct program *program = program_of(device, spec);
	if (program == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	program->has_context = context_acquire(device->gpu, error);
	if (!program->has_context || !cublas_ok(cublasLtCreate(&program->cublas), error, "create a cuBLASLt handle") ||
	    !cudnn_ok(cudnnCreate(&program->cudnn), error, "create a cuDNN handle") ||
	    !build(program, spec->checkpoint_interval, error)) {
		cuda_program_destroy(program);
		return false;
	}
	*ret_program = program;
	return true;
}

// ---- allocating

static bool create_streams(struct program *program, struct error *error)
{
	cudaStream_t *streams[] = {&program->compute, &program->copy_in, &program->copy_out};
	for (int i = 0; i < 3; i++)
		if (!cuda_ok(cudaStreamCreateWithFlags(streams[i], cudaStreamNonBlocking), error, "create a stream"))
			return false;
	if (program->in_group &&
	    !cuda_ok(cudaStreamCreateWithFlags(&program->reduce, cudaStreamNonBlocking), error, "create a stream"))
		return false;
	return cudnn_ok(cudnnSetStream(program->cudnn, program->compute), error, "set the stream of cuDNN");
}

static bool create_marks(struct program *program, struct error *error)
{
	if (program->mark_count == 0)
		return true;
	program->marks = calloc(program->mark_count, sizeof(program->marks[0]));
	if (program->marks == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	for (uint32_t i = 0; i < program->mark_count; i++)
		if (!cuda_ok(cudaEventCreate(&program->marks[i]), error, "create an event"))
			return false;
	return true;
}

// A candidate that failed was passed over; a GPU that failed shows here.
static bool settle(struct program *program, struct error *error)
{
	if (!choices_settle(&program->choices, program->chooser, error))
		return false;
	for (uint32_t i = 0; i < program->layer_count; i++)
		if (program->layers[i].class->settle != NULL)
			program->layers[i].class->settle(program, &program->layers[i]);
	program->chooser = NULL;
	return cuda_ok(cudaStreamSynchronize(program->compute), error, "time kernels");
}

bool cuda_program_allocate(struct program *program, struct error *error)
{
	if (!host_memory_check(program->beside_bytes, error) ||
	    !cuda_ok(cudaSetDevice(program->device->gpu), error, "use GPU %d", program->device->gpu) ||
	    !create_streams(program, error) || !cuda_allocate(program, error) || !create_marks(program, error) ||
	    !cuda_transfers_create(program, error) || !cuda_gradients_create(program, error) ||
	    !settle(program, error) || !cuda_rehearse(program, error))
		return false;
	program->stopped = NULL;
	return true;
}

static void release_layer(struct layer_state *state)
{
	for (int i = 0; i < 3; i++)
		convolution_plans_destroy(state->plans[i]);
	for (int i = 0; i < PASS_COUNT; i++)
		matmul_destroy(state->products[i]);
}

static void wait_for_streams(const struct program *program)
{
	cudaStream_t streams[] = {program->copy_in, program->compute, program->reduce, program->copy_out};
	for (int i = 0; i < 4; i++)
		if (streams[i] != NULL)
			cuda_ok(cudaStreamSynchronize(streams[i]), NULL, "wait for a stream");
}

static void destroy_streams(struct program *program)
{
	cudaStream_t streams[] = {program->copy_in, program->compute, program->reduce, program->copy_out};
	for (uint32_t i = 0; program->marks != NULL && i < program->mark_count; i++)
		if (program->marks[i] != NULL)
			cuda_ok(cudaEventDestroy(program->marks[i]), NULL, "destroy an event");
	free(program->marks);
	for (int i = 0; i < 4; i++)
		if (streams[i] != NULL)
			cuda_ok(cudaStreamDestroy(streams[i]), NULL, "destroy a stream");
}

// The libraries' plans and handles go before the stream that cuDNN's handle was given.
void cuda_program_destroy(struct program *program)
{
	if (program == NULL)
		return;
	if (program->has_context) {
		cuda_ok(cudaSetDevice(program->device->gpu), NULL, "use GPU %d", program->device->gpu);
		cuda_group_leave(program);
		wait_for_streams(program);
		cuda_transfers_destroy(program);
		cuda_gradients_destroy(program);
	}
	for (uint32_t i = 0; program->layers != NULL && i < program->layer_count; i++)
		release_layer(&program->layers[i]);
	if (program->cudnn != NULL)
		cudnn_ok(cudnnDestroy(program->cudnn), NULL, "destroy a cuDNN handle");
	if (program->cublas != NULL)
		cublas_ok(cublasLtDestroy(program->cublas), NULL, "destroy a cuBLASLt handle");
	if (program->has_context) {
		destroy_streams(program);
		cuda_release(program);
		context_release(program->device->gpu);
	}
	free(program->layers);
	choices_fini(&program->choices);
	free(program->parameters);
	free(program->runs);
	free(program->first_samples);
	free(program);
}
