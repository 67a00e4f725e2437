// See plan.h. The message for the wire is in message.c, the table for people in print.c.
#include "coordinator/plan/plan.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/rpc/protocol.h"
#include "coordinator/plan/internal.h"
#include "coordinator/plan/memory.h"
#include "coordinator/plan/simulate.h"

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

static void fill_stage(struct plan *plan, uint32_t s, uint32_t first, uint32_t end)
{
	struct plan_stage *stage = &plan->stages[s];
	*stage = (struct plan_stage){.first_layer = first, .end_layer = end};
	for (uint32_t i = first; i < end; i++) {
		stage->forward_flops += layer_forward_flops(&plan->model.layers[i]);
		stage->flops += partition_layer_flops(&plan->model, i);
	}
	memory_fill(&plan->model, &plan->options, plan->schedule, s, stage);
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

// partition_memory's
static uint64_t stage_memory(const void *user, uint32_t s, uint32_t first_layer, uint32_t end_layer)
{
	const struct plan *plan = user;
	struct plan_stage stage = {.first_layer = first_layer, .end_layer = end_layer};
	memory_fill(&plan->model, &plan->options, plan->schedule, s, &stage);
	return stage.memory_bytes;
}

static bool cut(const struct plan *plan, uint32_t *bounds, struct error *error)
{
	const struct plan_options *options = &plan->options;
	struct partition_memory memory = {stage_memory, plan, options->memory_limit_bytes};
	return options->split != NULL
		       ? partition_explicit(&plan->model, options->split, options->pipeline_size, bounds, error)
		       : partition_by_method(&plan->model, options->partition_method, options->pipeline_size, &memory,
					     bounds, error);
}

// What a stage computes again for one micro-batch's backward pass: all its runs of layers. The last run's activations are there still
// where no other micro-batch has gone forward since.
static double again_flops(const struct plan *plan, uint32_t s)
{
	const struct plan_stage *stage = &plan->stages[s];
	uint32_t interval = plan->options.checkpoint_interval, end = stage->end_layer;
	uint64_t flops = 0;
	if (interval == 0)
		return 0;
	if (plan->schedule->stage[s].slots == 1)
		end = stage->first_layer + (end - stage->first_layer - 1) / interval * interval;
	for (uint32_t i = stage->first_layer; i < end; i++)
		flops += layer_forward_flops(&plan->model.layers[i]);
	return (double)flops;
}

static bool predict(struct plan *plan, struct error *error)
{
	struct simulate_stage times[SCHEDULE_MAXIMUM_STAGES];
	struct simulate_result result;
	for (uint32_t s = 0; s < plan->options.pipeline_size; s++) {
		const struct plan_stage *stage = &plan->stages[s];
		times[s].forward = (double)stage->forward_flops;
		times[s].backward = (double)(stage->flops - stage->forward_flops) + again_flops(plan, s);
	}
	if (!simulate(plan->schedule, times, &result, error))
		return false;
	plan->bubble = result.bubble;
	plan->step_flops = result.step;
	return true;
}

static bool fill(struct plan *plan, struct error *error)
{
	const struct plan_options *options = &plan->options;
	uint32_t bounds[SCHEDULE_MAXIMUM_STAGES + 1], p = options->pipeline_size, m = options->micro_batches;
	if (!schedule_create(options->schedule, p, m, options->in_flight, &plan->schedule, error) ||
	    !cut(plan, bounds, error))
		return false;
	uint64_t sum = 0, largest = 1;
	for (uint32_t s = 0; s < p; s++) {
		fill_stage(plan, s, bounds[s], bounds[s + 1]);
		sum += plan->stages[s].flops;
		largest = plan->stages[s].flops > largest ? plan->stages[s].flops : largest;
	}
	plan->ideal_bubble = (double)(p - 1) / (double)(m + p - 1);
	plan->balance = (double)sum / p / (double)largest;
	return predict(plan, error);
}

uint64_t plan_largest_memory(const struct plan *plan)
{
	uint64_t largest = 0;
	for (uint32_t s = 0; s < plan->options.pipeline_size; s++)
		if (plan->stages[s].memory_bytes > largest)
			largest = plan->stages[s].memory_bytes;
	return largest;
}

bool plan_fits(const struct plan *plan)
{
	return plan->options.memory_limit_bytes == 0 || plan_largest_memory(plan) <= plan->options.memory_limit_bytes;
}

static bool check_replicas(const struct plan_options *options, struct error *error)
{
	uint32_t d = options->data_parallel_size;
	if (d < 1 || d > PROTOCOL_MAXIMUM_REPLICAS)
		return error_set(error, ERROR_USAGE, "%u replicas: the number must be from 1 to %d", d,
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
		return error_set(error, ERROR_USAGE, "micro-batches of %u samples: the number must be from 1 to %d",
				 options->micro_batch_size, MODEL_MAXIMUM_MICRO_BATCH_SIZE);
	if (options->raw_image_size < 1 || options->raw_image_size > MODEL_MAXIMUM_IMAGE_SIZE)
		return error_set(error, ERROR_USAGE,
				 "images of %u x %u pixels in the dataset: the size must be from 1 to %d",
				 options->raw_image_size, options->raw_image_size, MODEL_MAXIMUM_IMAGE_SIZE);
	if (options->compute_type == DATA_FLOAT16 && !(options->initial_loss_scale > 0))
		return error_set(error, ERROR_USAGE, "a loss scale of %g: it must be over 0",
				 (double)options->initial_loss_scale);
	return check_replicas(options, error);
}

bool plan_make(const struct model *model, const struct plan_options *options, struct plan **ret_plan,
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

bool plan_compare(struct plan *plan, struct error *error)
{
	struct plan_options options = plan->options;
	struct plan *free_plan = NULL;
	options.in_flight = options.checkpoint_interval = 0;
	options.memory_limit_bytes = 0;
	if (options.split == NULL && strcasecmp(options.partition_method, "memory") == 0)
		options.partition_method = "flops";
	if (!plan_make(&plan->model, &options, &free_plan, error))
		return false;
	plan->cost = free_plan->step_flops > 0 ? plan->step_flops / free_plan->step_flops : 1;
	plan->cut_differs = false;
	for (uint32_t s = 0; s < options.pipeline_size; s++)
		plan->cut_differs |= plan->stages[s].end_layer != free_plan->stages[s].end_layer;
	plan_destroy(free_plan);
	return true;
}

bool plan_create(const struct model *model, const struct plan_options *options, struct plan **ret_plan,
		 struct error *error)
{
	struct plan *plan = NULL;
	if (!plan_make(model, options, &plan, error))
		return false;
	if (!plan_compare(plan, error)) {
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
