// See plan.h. The message for the wire is in message.c, the table for people in print.c.
#include "coordinator/plan/plan.h"

#include <stdlib.h>
#include <string.h>

// What crosses the boundary before `layer`, for one micro-batch.
static uint64_t boundary_bytes(const struct plan *plan, uint32_t layer)
{
	return shape_count(plan->model.layers[layer].input) * plan->options.micro_batch_size * sizeof(float);
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

// The memory is an estimate from the shapes alone: a device pads, shares and fuses, and says itself what it
// needs.
static void fill_memory(struct plan *plan, uint32_t s)
{
	struct plan_stage *stage = &plan->stages[s];
	uint64_t n = plan->options.micro_batch_size, largest = 0,
		 stash = shape_count(plan->model.layers[stage->first_layer].input);
	for (uint32_t i = stage->first_layer; i < stage->end_layer; i++) {
		const struct layer *layer = &plan->model.layers[i];
		uint64_t output = shape_count(layer->output);
		// Computed in place, or only another name for the same values.
		bool shares = layer->kind == LAYER_RELU || layer->kind == LAYER_FLATTEN || layer->kind == LAYER_DROPOUT;
		stash += shares ? 0 : output;
		largest = output > largest ? output : largest;
	}
	stage->parameter_bytes = stage->gradient_bytes = stage->parameters * sizeof(float);
	stage->optimizer_bytes = stage->parameter_bytes * optimizer_state_tensors(plan->options.optimizer.kind);
	stage->stash_bytes = stash * n * sizeof(float) * plan->schedule->stage[s].slots;
	stage->workspace_bytes = 2 * largest * n * sizeof(float);
	stage->exchange_bytes = 0;
	if (s > 0)
		stage->exchange_bytes +=
			stage->input_bytes * (plan_receive_depth(plan, s) + plan_send_depth(plan, s, false));
	if (s + 1 < plan->options.pipeline_size)
		stage->exchange_bytes +=
			stage->output_bytes * (plan_receive_depth(plan, s) + plan_send_depth(plan, s, true));
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

static bool check_options(const struct plan_options *options, struct error *error)
{
	if (options->micro_batch_size < 1 || options->micro_batch_size > MODEL_MAXIMUM_MICRO_BATCH_SIZE)
		return error_set(error, ERROR_USAGE, "micro-batches of %u samples: there may be from 1 to %d",
				 options->micro_batch_size, MODEL_MAXIMUM_MICRO_BATCH_SIZE);
	if (options->raw_image_size < 1 || options->raw_image_size > MODEL_MAXIMUM_IMAGE_SIZE)
		return error_set(error, ERROR_USAGE, "images of %u x %u pixels in the dataset: from 1 to %d are taken",
				 options->raw_image_size, options->raw_image_size, MODEL_MAXIMUM_IMAGE_SIZE);
	return options->data_parallel_size == 1 ||
	       error_set(error, ERROR_USAGE, "data parallel size %u: one replica is trained",
			 options->data_parallel_size);
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
