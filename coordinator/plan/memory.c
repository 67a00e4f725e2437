// See memory.h. The two devices differ in what they lay beside the tensors of the model (docs/internals/device.md), so each has its
// part here.
#include "coordinator/plan/memory.h"

#include "common/rpc/protocol.h"
#include "common/schedule/ring.h"

enum {
	LINE = 64,              // bytes to which the queued data of a micro-batch is rounded
	SUMS_CHUNK = 16 * 1024, // floats of a gradient whose squares the CPU sums at once
	CPU_BLOCK = 128,        // bytes to which the CPU rounds a tensor (device/cpu/program.h)
	CPU_PAGE = 4096,        // and a region of them (device/cpu/memory.h)
};
// What kernels take as scratch memory, at most. On the CPU Winograd kernels may have 128 MiB (device/cpu/convolution_methods.c), on
// a GPU any kernel 256 MiB (device/cuda/program.h), and in float32 a convolution as much as its own tensors and 32 MiB.
#define CPU_SCRATCH_BYTES  (UINT64_C(128) << 20)
#define CUDA_SCRATCH_BYTES (UINT64_C(256) << 20)
#define CUDA_SUMS_BYTES    (UINT64_C(32) << 20)

struct context {
	const struct model *model;
	const struct plan_options *options;
	const struct plan_stage *stage;
	uint64_t element; // bytes
	bool is_cuda;
};

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

// What a tensor of so many bytes takes, and what a region of tensors does.
static uint64_t block(const struct context *c, uint64_t bytes)
{
	return c->is_cuda ? bytes : round_up(bytes, CPU_BLOCK);
}

static uint64_t region(const struct context *c, uint64_t bytes)
{
	return c->is_cuda ? bytes : round_up(bytes, CPU_PAGE);
}

static uint64_t bytes_of(const struct context *c, struct shape shape)
{
	return block(c, shape_count(shape) * c->options->micro_batch_size * c->element);
}

// What the layer's forward pass leaves for its backward pass, its input aside: its output, unless it works in place or only renames
// what it gets, and the bytes that say which elements a max pool took and a dropout kept.
static uint64_t kept_of_layer(const struct context *c, uint32_t i)
{
	const struct layer *layer = &c->model->layers[i];
	uint64_t n = c->options->micro_batch_size, output = bytes_of(c, layer->output);
	bool is_identity = layer->input.height == layer->output.height && layer->input.width == layer->output.width;
	switch (layer->kind) {
	case LAYER_RELU:
		return 0;
	case LAYER_FLATTEN: // a GPU's tensors have their channels last
		return c->is_cuda && layer->input.height * layer->input.width > 1 ? output : 0;
	case LAYER_DROPOUT:
		return layer->probability > 0 ? block(c, shape_count(layer->output) * n) : 0;
	case LAYER_MAX_POOL:
		return output + block(c, shape_count(layer->output) * n);
	case LAYER_ADAPTIVE_AVERAGE_POOL: // the CPU's reads rows, and what comes from another layer lies in blocks of channels
		if (c->is_cuda)
			return output;
		return (i > c->stage->first_layer ? bytes_of(c, layer->input) : 0) + (is_identity ? 0 : output);
	default:
		return output;
	}
}

// A layer that works in place takes a copy where what it would overwrite is what a run is computed again from.
static uint64_t copy_of_input(const struct context *c, uint32_t i)
{
	const struct layer *layers = c->model->layers;
	bool is_done_before = i > c->stage->first_layer &&
			      (layers[i - 1].kind == LAYER_CONVOLUTION || layers[i - 1].kind == LAYER_LINEAR);
	bool in_place = layers[i].kind == LAYER_FLATTEN || layers[i].kind == LAYER_DROPOUT ||
			(layers[i].kind == LAYER_RELU && (c->is_cuda || !is_done_before));
	return in_place ? bytes_of(c, layers[i].input) : 0;
}

struct stash {
	uint64_t kept;  // of each micro-batch that is alive
	uint64_t again; // with checkpoints: computed again for the one that goes backward
};

// Images get more channels where a GPU's tensor cores read them.
static uint64_t input_bytes(const struct context *c)
{
	struct shape shape = c->model->layers[c->stage->first_layer].input;
	if (c->is_cuda && c->stage->first_layer == 0 && (c->element < 4 || c->options->allow_tf32))
		shape.channels = c->element < 4 ? 8 : 4;
	return bytes_of(c, shape);
}

// Without checkpoints the input and what every layer leaves are kept. With them, of each run of `interval` layers only the input is,
// and the largest run's rest has one place for all. The CPU has a run's last output there, too.
static struct stash stash_of(const struct context *c)
{
	uint32_t interval = c->options->checkpoint_interval, end_layer = c->stage->end_layer;
	bool checkpoints = interval > 0;
	if (!checkpoints)
		interval = end_layer - c->stage->first_layer;
	struct stash stash = {.kept = input_bytes(c)};
	for (uint32_t first = c->stage->first_layer; first < end_layer; first += interval) {
		uint32_t end = end_layer - first > interval ? first + interval : end_layer;
		uint64_t rest = checkpoints ? copy_of_input(c, first) : 0;
		uint64_t last_output = bytes_of(c, c->model->layers[end - 1].output);
		for (uint32_t i = first; i < end; i++)
			rest += kept_of_layer(c, i);
		if (end < end_layer)
			stash.kept += last_output;
		if (c->is_cuda && checkpoints) { // the last output of all lies with what is kept
			stash.kept += end == end_layer ? last_output : 0;
			rest -= last_output < rest ? last_output : rest;
		}
		stash.again = larger(stash.again, rest);
	}
	if (!checkpoints) {
		stash.kept += stash.again;
		stash.again = 0;
	}
	return stash;
}

// Of the gradients that flow back one is read and one written.
static uint64_t largest_gradient(const struct context *c)
{
	uint64_t largest = 0;
	for (uint32_t i = c->stage->first_layer; i < c->stage->end_layer; i++) {
		largest = larger(largest, bytes_of(c, c->model->layers[i].output));
		if (i > 0) // nobody wants that of the images
			largest = larger(largest, bytes_of(c, c->model->layers[i].input));
	}
	return largest;
}

static uint64_t weight_bytes(const struct layer *layer)
{
	return (layer_parameter_count(layer) - layer->out_channels) * sizeof(float);
}

static uint64_t bias_bytes(const struct layer *layer)
{
	return layer->out_channels * sizeof(float);
}

// One float32 for each of the stage's parameters, which lie weight by weight and bias by bias.
static uint64_t parameter_tensors(const struct context *c)
{
	uint64_t bytes = 0;
	for (uint32_t i = c->stage->first_layer; i < c->stage->end_layer; i++) {
		const struct layer *layer = &c->model->layers[i];
		if (layer_parameter_count(layer) > 0)
			bytes += block(c, weight_bytes(layer)) + block(c, bias_bytes(layer));
	}
	return region(c, bytes);
}

static bool is_last(const struct context *c)
{
	return c->stage->end_layer == c->model->layer_count;
}

// A weight's gradient of one micro-batch; the weights of convolutions as the input's gradient wants them; what sums of squares and
// losses are added up in; and in plain order what is widened and narrowed at a boundary.
static uint64_t cpu_workspace(const struct context *c)
{
	uint64_t bytes = 0, most = 0, squares = 0;
	bool has_convolution = false;
	for (uint32_t i = c->stage->first_layer; i < c->stage->end_layer; i++) {
		const struct layer *layer = &c->model->layers[i];
		squares = larger(squares, (layer_parameter_count(layer) / SUMS_CHUNK + 1) * sizeof(double));
		if (layer->kind != LAYER_CONVOLUTION)
			continue;
		has_convolution = true;
		most = larger(most, block(c, weight_bytes(layer) + CPU_BLOCK + bias_bytes(layer)));
		bytes += i > 0 ? block(c, weight_bytes(layer)) : 0;
	}
	if (c->options->boundary_type != DATA_FLOAT32)
		bytes += larger(bytes_of(c, c->model->layers[c->stage->first_layer].input),
				bytes_of(c, c->model->layers[c->stage->end_layer - 1].output));
	uint64_t losses = is_last(c) ? sizeof(double) * 2 * c->options->micro_batch_size : 0;
	return bytes + most + block(c, squares) + block(c, losses) + (has_convolution ? CPU_SCRATCH_BYTES : 0);
}

static uint64_t cuda_scratch(const struct context *c, const struct layer *layer)
{
	bool rearranges = layer->kind == LAYER_CONVOLUTION && c->element == 4 && !c->options->allow_tf32;
	return larger(CUDA_SCRATCH_BYTES, rearranges ? bytes_of(c, layer->input) + bytes_of(c, layer->output) +
							       weight_bytes(layer) + CUDA_SUMS_BYTES
						     : 0);
}

// A weight in another layout, the kernels' scratch memory, two buffers each for what comes in and goes out, and, with replicas, one
// each way in which a convolution's gradient changes its layout.
static uint64_t cuda_workspace(const struct context *c)
{
	uint64_t temporary = 0, scratch = 0, gradient = 0, n = c->options->micro_batch_size,
		 pixels = c->options->raw_image_size;
	for (uint32_t i = c->stage->first_layer; i < c->stage->end_layer; i++) {
		const struct layer *layer = &c->model->layers[i];
		scratch = larger(scratch, cuda_scratch(c, layer));
		if (layer->kind == LAYER_CONVOLUTION || layer->kind == LAYER_LINEAR)
			temporary = larger(temporary, weight_bytes(layer));
		if (layer->kind == LAYER_CONVOLUTION && c->options->data_parallel_size > 1)
			gradient = larger(gradient, weight_bytes(layer));
	}
	bool is_first = c->stage->first_layer == 0;
	uint64_t in = is_first ? n * 3 * pixels * pixels : c->stage->input_bytes;
	uint64_t out = shape_count(c->model->layers[c->stage->end_layer - 1].output) * n *
		       data_type_bytes(c->options->boundary_type);
	return temporary + scratch + 2 * gradient + 2 * larger(in, out) + 2 * larger(is_first ? 0 : in, out);
}

// What crosses the boundary before `layer`, for one micro-batch.
static uint64_t boundary_bytes(const struct context *c, uint32_t layer)
{
	return shape_count(c->model->layers[layer].input) * c->options->micro_batch_size *
	       data_type_bytes(c->options->boundary_type);
}

// Unread tensors and those to be sent, per boundary; the data of the steps that are queued; what replicas sum their gradients in.
static uint64_t exchange_bytes(const struct context *c, const struct schedule *schedule, uint32_t s)
{
	const struct plan_options *options = c->options;
	uint64_t receive = schedule_receive_depth(&schedule->stage[s]), bytes = 0, data = 0;
	if (s > 0) // no more gradients can be on their way back than the stage before keeps micro-batches
		bytes += c->stage->input_bytes * (receive + schedule->stage[s - 1].slots);
	else
		data += round_up((uint64_t)options->micro_batch_size * 3 * options->raw_image_size *
					 options->raw_image_size,
				 LINE);
	if (s + 1 < schedule->stages)
		bytes += c->stage->output_bytes * (receive + schedule->stage[s].slots);
	else
		data += round_up(options->micro_batch_size, LINE);
	bytes += data * options->micro_batches * PROTOCOL_MAXIMUM_QUEUED_STEPS;
	if (options->data_parallel_size > 1 && c->stage->parameters > 0) {
		struct ring ring =
			ring_make(model_parameter_floats(c->model, c->stage->end_layer, c->model->layer_count),
				  c->stage->parameters, model_parameter_floats(c->model, 0, c->model->layer_count),
				  options->data_parallel_size, options->reduce_bucket_bytes);
		bytes += ring_bytes(&ring);
	}
	return bytes;
}

void memory_fill(const struct model *model, const struct plan_options *options, const struct schedule *schedule,
		 uint32_t s, struct plan_stage *stage)
{
	struct context c = {.model = model,
			    .options = options,
			    .stage = stage,
			    .element = data_type_bytes(options->compute_type),
			    .is_cuda = options->device == PLAN_DEVICE_CUDA};
	stage->parameters = model_parameter_floats(model, stage->first_layer, stage->end_layer);
	stage->input_bytes = s > 0 ? boundary_bytes(&c, stage->first_layer) : 0;
	stage->output_bytes = s + 1 < schedule->stages ? boundary_bytes(&c, stage->end_layer) : 0;
	uint64_t copy = options->compute_type != DATA_FLOAT32 ? c.element : 0; // of each parameter, to compute with
	struct stash stash = stash_of(&c);
	uint64_t tensors = parameter_tensors(&c);
	uint64_t labels = !c.is_cuda && is_last(&c) ? block(&c, options->micro_batch_size) : 0;
	uint64_t slots = schedule->stage[s].slots;
	stage->parameter_bytes = tensors + stage->parameters * copy;
	stage->gradient_bytes = tensors;
	stage->optimizer_bytes = region(&c, tensors * optimizer_state_tensors(options->optimizer.kind));
	stage->stash_bytes =
		region(&c, stash.kept * slots) + region(&c, labels * slots) + (c.is_cuda ? 0 : region(&c, stash.again));
	stage->workspace_bytes = region(&c, 2 * largest_gradient(&c) +
						    (c.is_cuda ? stash.again + cuda_workspace(&c) : cpu_workspace(&c)));
	stage->exchange_bytes = exchange_bytes(&c, schedule, s);
	stage->memory_bytes = stage->parameter_bytes + stage->gradient_bytes + stage->optimizer_bytes +
			      stage->stash_bytes + stage->workspace_bytes +
			      (c.is_cuda ? 0 : stage->exchange_bytes); // which a GPU leaves to the host
}
