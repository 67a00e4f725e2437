// See plan.h. The message for the wire is in message.c, the table for people in print.c.
#include "coordinator/plan/plan.h"

#include <stdlib.h>
#include <string.h>

#include "common/rpc/protocol.h"
#include "common/schedule/ring.h"

// What crosses the boundary before `layer`, for one micro-batch.
static uint64_t boundary_bytes(const struct plan *plan, uint32_t layer)
{
	return shape_count(plan->model.layers[layer].input) * plan->options.micro_batch_size *
	       data_type_bytes(plan->options.boundary_type);
}

uint32_t plan_receive_depth(const struct plan *plan, uint32_t stage)
{
	return schedule_receive_depth(&plan->schedule->stage[stage]);
}

// A stage's outgoing tensors never outnumber the micro-batches alive on the upstream side of the boundary:
// those of the stage itself going forward, those of the stage before going backward. With as many buffers,
// sending never waits.
uint32_t plan_send_depth(const struct plan *plan, uint32_t stage, bool to_next)
{
	return plan->schedule->stage[to_next ? stage : stage - 1].slots;
}

struct stash {          // elements of one sample
	uint64_t kept;  // of each micro-batch that is alive
	uint64_t again; // with checkpoints: computed again for the one that goes backward
};

// Computed in place, or only another name for the same values.
static bool shares(const struct layer *layer)
{
	return layer->kind == LAYER_RELU || layer->kind == LAYER_FLATTEN || layer->kind == LAYER_DROPOUT;
}

// Without checkpoints the input and every output are kept. With them, of each run of `interval` layers only the input is,
// which is the output of the run before, and the largest run's other outputs have one place for all.
static struct stash stash_of(const struct plan *plan, const struct plan_stage *stage)
{
	struct stash stash = {0};
	const struct layer *layers = plan->model.layers;
	uint32_t interval = plan->options.checkpoint_interval > 0 ? plan->options.checkpoint_interval
								  : stage->end_layer - stage->first_layer;
	for (uint32_t first = stage->first_layer; first < stage->end_layer; first += interval) {
		uint32_t end = stage->end_layer - first > interval ? first + interval : stage->end_layer;
		uint64_t outputs = 0;
		for (uint32_t i = first; i < end; i++)
			outputs += shares(&layers[i]) ? 0 : shape_count(layers[i].output);
		if (end < stage->end_layer && outputs > 0)
			outputs -= shape_count(layers[end - 1].output); // the next run's input
		stash.kept += shape_count(layers[first].input);
		stash.again = outputs > stash.again ? outputs : stash.again;
	}
	if (plan->options.checkpoint_interval == 0) {
		stash.kept += stash.again;
		stash.again = 0;
	}
	return stash;
}

// The memory is an estimate from the shapes alone: a device pads, shares and fuses, and says itself what it
// needs.
static void fill_memory(struct plan *plan, uint32_t s)
{
	struct plan_stage *stage = &plan->stages[s];
	const struct plan_options *options = &plan->options;
	uint64_t n = options->micro_batch_size, element = data_type_bytes(options->compute_type), largest = 0;
	for (uint32_t i = stage->first_layer; i < stage->end_layer; i++) {
		uint64_t output = shape_count(plan->model.layers[i].output);
		largest = output > largest ? output : largest;
	}
	struct stash stash = stash_of(plan, stage);
	uint64_t copy = options->compute_type != DATA_FLOAT32 ? element : 0; // of each parameter, to compute with
	stage->parameter_bytes = stage->parameters * (sizeof(float) + copy);
	stage->gradient_bytes = stage->parameters * sizeof(float);
	stage->optimizer_bytes = stage->gradient_bytes * optimizer_state_tensors(options->optimizer.kind);
	stage->stash_bytes = (stash.kept * plan->schedule->stage[s].slots + stash.again) * n * element;
	stage->workspace_bytes = 2 * largest * n * element;
	stage->exchange_bytes = 0;
	if (s > 0)
		stage->exchange_bytes +=
			stage->input_bytes * (plan_receive_depth(plan, s) + plan_send_depth(plan, s, false));
	if (s + 1 < plan->options.pipeline_size)
		stage->exchange_bytes +=
			stage->output_bytes * (plan_receive_depth(plan, s) + plan_send_depth(plan, s, true));
	if (options->data_parallel_size > 1) {
		struct ring ring =
			ring_make(stage->parameters, options->data_parallel_size, options->reduce_bucket_bytes);
		stage->exchange_bytes += ring_bytes(&ring);
	}
	stage->memory_bytes = stage->parameter_bytes + stage->gradient_bytes + stage->optimizer_bytes +
			      stage->stash_bytes + stage->workspace_bytes + stage->exchange_bytes;
}

static void fill_stage(struct plan *plan, uint32_t s, uint32_t first, uint32_t end)
{
	struct plan_stage *stage = &plan->stages[s];
	*stage = (struct plan_stage){.first_layer = first, .end_layer = end};
	for (uint32_t i = first; i < end; i++) {
		const struct layer *layer = &plan->model.layers[i];
		stage->parameters += layer_parameter_count(layer);
		stage->flops += partition_layer_flops(&plan->model, i);
	}
	stage->input_bytes = s > 0 ? boundary_bytes(plan, first) : 0;
	stage->output_bytes = s + 1 < plan->options.pipeline_size ? boundary_bytes(plan, end) : 0;
	fill_memory(plan, s);
}

static bool copy_strings(struct plan *plan, const struct plan_options *options, struct error *error)
{
	plan->options.partition_method = strdup(options->partition_method);
	plan->options.schedule = strdup(options->schedule);
	plan->options.split = options->split != NULL ? strdup(options->split) : NULL;
	return (plan->options.partition_method != NULL && plan->options.schedule != NULL &&
		(plan->options.split != NULL || options->split == NULL)) ||
	       error_set(error, ERROR_FAILED, "out of memory");
}

static bool fill(struct plan *plan, struct error *error)
{
	const struct plan_options *options = &plan->options;
	uint32_t bounds[SCHEDULE_MAXIMUM_STAGES + 1], p = options->pipeline_size, m = options->micro_batches;
	bool cut = options->split != NULL
			   ? partition_explicit(&plan->model, options->split, p, bounds, error)
			   : partition_by_method(&plan->model, options->partition_method, p, bounds, error);
	if (!cut || !schedule_create(options->schedule, p, m, &plan->schedule, error))
		return false;
	uint64_t sum = 0, largest = 1;
	for (uint32_t s = 0; s < p; s++) {
		fill_stage(plan, s, bounds[s], bounds[s + 1]);
		sum += plan->stages[s].flops;
		largest = plan->stages[s].flops > largest ? plan->stages[s].flops : largest;
	}
	plan->ideal_bubble = (double)(p - 1) / (double)(m + p - 1);
	plan->balance = (double)sum / p / (double)largest;
	return true;
}

static bool check_replicas(const struct plan_options *options, struct error *error)
{
	uint32_t d = options->data_parallel_size;
	if (d < 1 || d > PROTOCOL_MAXIMUM_REPLICAS)
		return error_set(error, ERROR_USAGE, "%u replicas: there may be from 1 to %d", d,
				 PROTOCOL_MAXIMUM_REPLICAS);
	if ((uint64_t)options->micro_batches * d > PROTOCOL_MAXIMUM_STEP_MICRO_BATCHES)
		return error_set(error, ERROR_USAGE,
				 "%u micro-batches x %u replicas: a step has at most %d micro-batches",
				 options->micro_batches, d, PROTOCOL_MAXIMUM_STEP_MICRO_BATCHES);
	return (uint64_t)options->pipeline_size * d <= PLAN_MAXIMUM_RANKS ||
	       error_set(error, ERROR_USAGE, "%u stages x %u replicas: a job runs on at most %d devices",
			 options->pipeline_size, d, PLAN_MAXIMUM_RANKS);
}

static bool check_options(const struct plan_options *options, struct error *error)
{
	if (options->micro_batch_size < 1 || options->micro_batch_size > MODEL_MAXIMUM_MICRO_BATCH_SIZE)
		return error_set(error, ERROR_USAGE, "micro-batches of %u samples: there may be from 1 to %d",
				 options->micro_batch_size, MODEL_MAXIMUM_MICRO_BATCH_SIZE);
	if (options->raw_image_size < 1 || options->raw_image_size > MODEL_MAXIMUM_IMAGE_SIZE)
		return error_set(error, ERROR_USAGE, "images of %u x %u pixels in the dataset: from 1 to %d are taken",
				 options->raw_image_size, options->raw_image_size, MODEL_MAXIMUM_IMAGE_SIZE);
	if (options->compute_type == DATA_FLOAT16 && !(options->initial_loss_scale > 0))
		return error_set(error, ERROR_USAGE, "a loss scale of %g: must be over 0",
				 (double)options->initial_loss_scale);
	return check_replicas(options, error);
}

bool plan_create(const struct model *model, const struct plan_options *options, struct plan **ret_plan,
		 struct error *error)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	if (plan == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	plan->model = *model;
	plan->options = *options;
	plan->options.partition_method = plan->options.schedule = plan->options.split = NULL;
	if (plan->options.checkpoint_interval > model->layer_count)
		plan->options.checkpoint_interval = model->layer_count;
	if (!check_options(options, error) || !copy_strings(plan, options, error) || !fill(plan, error)) {
		plan_destroy(plan);
		return false;
	}
	*ret_plan = plan;
	return true;
}

void plan_destroy(struct plan *plan)
{
	if (plan == NULL)
		return;
	free((char *)plan->options.partition_method);
	free((char *)plan->options.schedule);
	free((char *)plan->options.split);
	schedule_destroy(plan->schedule);
	free(plan);
}
