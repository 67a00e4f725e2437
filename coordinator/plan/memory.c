// See memory.h. What every device has in common; where they differ, memory_rules.h asks the device's table.
#include "coordinator/plan/memory.h"

#include "common/rpc/protocol.h"
#include "common/schedule/ring.h"
#include "coordinator/plan/memory_rules.h"

enum { LINE = 64 }; // bytes to which the queued data of a micro-batch is rounded

static const struct memory_rules *const rules_of[] = {
	[PLAN_DEVICE_CPU] = &memory_cpu, [PLAN_DEVICE_CUDA] = &memory_cuda};

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

uint64_t memory_block(const struct memory_context *c, uint64_t bytes)
{
	return round_up(bytes, c->rules->tensor_unit);
}

static uint64_t region(const struct memory_context *c, uint64_t bytes)
{
	return round_up(bytes, c->rules->region_unit);
}

uint64_t memory_tensor(const struct memory_context *c, struct shape shape)
{
	return memory_block(c, shape_count(shape) * c->options->micro_batch_size * c->element);
}

uint64_t memory_weight_bytes(const struct layer *layer)
{
	return (layer_parameter_count(layer) - layer->out_channels) * sizeof(float);
}

uint64_t memory_bias_bytes(const struct layer *layer)
{
	return layer->out_channels * sizeof(float);
}

bool memory_is_last(const struct memory_context *c)
{
	return c->stage->end_layer == c->model->layer_count;
}

// ---- The stash

// What the layer's forward pass leaves for its backward pass, its input aside: its output, unless it works in place or only renames
// what it gets, and the bytes that say which elements a max pool took and a dropout kept.
static uint64_t kept_of_layer(const struct memory_context *c, uint32_t i)
{
	const struct layer *layer = &c->model->layers[i];
	uint64_t chosen_bytes = memory_block(c, shape_count(layer->output) * c->options->micro_batch_size);
	switch (layer->kind) {
	case LAYER_RELU:
		return 0;
	case LAYER_FLATTEN:
		return c->rules->kept_of_flatten(c, i);
	case LAYER_DROPOUT:
		return layer->probability > 0 ? chosen_bytes : 0;
	case LAYER_MAX_POOL:
		return memory_tensor(c, layer->output) + chosen_bytes;
	case LAYER_ADAPTIVE_AVERAGE_POOL:
		return c->rules->kept_of_average_pool(c, i);
	default:
		return memory_tensor(c, layer->output);
	}
}

// A layer that works in place takes a copy where what it would overwrite is what a run is computed again from.
static uint64_t copy_of_input(const struct memory_context *c, uint32_t i)
{
	const struct layer *layer = &c->model->layers[i];
	bool in_place = layer->kind == LAYER_FLATTEN || layer->kind == LAYER_DROPOUT ||
			(layer->kind == LAYER_RELU && c->rules->relu_is_in_place(c, i));
	return in_place ? memory_tensor(c, layer->input) : 0;
}

struct stash {
	uint64_t kept;  // of each micro-batch that is alive
	uint64_t again; // with checkpoints: computed again for the one that goes backward
};

// Without checkpoints the input and what every layer leaves are kept. With them, of each run of `interval` layers only the input is,
// and the largest run's rest has one place for all.
static struct stash stash_of(const struct memory_context *c)
{
	uint32_t interval = c->options->checkpoint_interval, end_layer = c->stage->end_layer;
	bool checkpoints = interval > 0;
	if (!checkpoints)
		interval = end_layer - c->stage->first_layer;
	struct stash stash = {.kept = memory_tensor(c, c->rules->input(c))};
	for (uint32_t first = c->stage->first_layer; first < end_layer; first += interval) {
		uint32_t end = end_layer - first > interval ? first + interval : end_layer;
		uint64_t rest = checkpoints ? copy_of_input(c, first) : 0;
		uint64_t last_output = memory_tensor(c, c->model->layers[end - 1].output);
		for (uint32_t i = first; i < end; i++)
			rest += kept_of_layer(c, i);
		if (end < end_layer)
			stash.kept += last_output;
		if (checkpoints && c->rules->run_ends_are_kept) {
			stash.kept += end == end_layer ? last_output : 0;
			rest -= last_output < rest ? last_output : rest;
		}
		stash.again = memory_larger(stash.again, rest);
	}
	if (!checkpoints) {
		stash.kept += stash.again;
		stash.again = 0;
	}
	return stash;
}

// ---- The rest

// Of the gradients that flow back one is read and one written.
static uint64_t largest_gradient(const struct memory_context *c)
{
	uint64_t largest = 0;
	for (uint32_t i = c->stage->first_layer; i < c->stage->end_layer; i++) {
		largest = memory_larger(largest, memory_tensor(c, c->model->layers[i].output));
		if (i > 0) // nobody wants that of the images
			largest = memory_larger(largest, memory_tensor(c, c->model->layers[i].input));
	}
	return largest;
}

// One float32 for each of the stage's parameters, which lie weight by weight and bias by bias.
static uint64_t parameter_tensors(const struct memory_context *c)
{
	uint64_t bytes = 0;
	for (uint32_t i = c->stage->first_layer; i < c->stage->end_layer; i++) {
		const struct layer *layer = &c->model->layers[i];
		if (layer_parameter_count(layer) > 0)
			bytes +=
				memory_block(c, memory_weight_bytes(layer)) + memory_block(c, memory_bias_bytes(layer));
	}
	return region(c, bytes);
}

// What crosses the boundary before `layer`, for one micro-batch.
static uint64_t boundary_bytes(const struct memory_context *c, uint32_t layer)
{
	return shape_count(c->model->layers[layer].input) * c->options->micro_batch_size *
	       data_type_bytes(c->options->boundary_type);
}

// Unread tensors and those to be sent, per boundary; the data of the steps that are queued; what replicas sum their gradients in.
static uint64_t exchange_bytes(const struct memory_context *c, const struct schedule *schedule, uint32_t s)
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
	const struct memory_rules *rules = rules_of[options->device];
	struct memory_context c = {.rules = rules,
				   .model = model,
				   .options = options,
				   .stage = stage,
				   .element = data_type_bytes(options->compute_type)};
	stage->parameters = model_parameter_floats(model, stage->first_layer, stage->end_layer);
	stage->input_bytes = s > 0 ? boundary_bytes(&c, stage->first_layer) : 0;
	stage->output_bytes = s + 1 < schedule->stages ? boundary_bytes(&c, stage->end_layer) : 0;
	uint64_t copy = options->compute_type != DATA_FLOAT32 ? c.element : 0; // of each parameter, to compute with
	struct stash stash = stash_of(&c);
	uint64_t tensors = parameter_tensors(&c), slots = schedule->stage[s].slots;
	uint64_t labels = rules->keeps_labels && memory_is_last(&c) ? memory_block(&c, options->micro_batch_size) : 0;
	uint64_t again_stash = rules->recomputes_in_workspace ? 0 : region(&c, stash.again);
	uint64_t again_workspace = rules->recomputes_in_workspace ? stash.again : 0;
	stage->parameter_bytes = tensors + stage->parameters * copy;
	stage->gradient_bytes = tensors;
	stage->optimizer_bytes = region(&c, tensors * optimizer_state_tensors(&options->optimizer));
	stage->stash_bytes = region(&c, stash.kept * slots) + region(&c, labels * slots) + again_stash;
	stage->workspace_bytes = region(&c, 2 * largest_gradient(&c) + again_workspace + rules->workspace(&c));
	stage->exchange_bytes = exchange_bytes(&c, schedule, s);
	stage->memory_bytes = stage->parameter_bytes + stage->gradient_bytes + stage->optimizer_bytes +
			      stage->stash_bytes + stage->workspace_bytes +
			      (rules->holds_exchange ? stage->exchange_bytes : 0);
}
