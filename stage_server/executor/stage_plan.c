// See stage_plan.h.
#include "stage_server/executor/stage_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/model/optimizer_check.h"
#include "common/rpc/protocol.h"
#include "common/rpc/rpc.h"

enum {
	MAXIMUM_CLASSES = 256, // a label is a byte
	MAXIMUM_BATCH_BYTES = RPC_MAXIMUM_MESSAGE_BYTES - RPC_MAXIMUM_HEADER_BYTES,
	INSTRUCTIONS_PER_MICRO_BATCH = 8, // at most; and two for the whole step
};

static bool within(uint64_t value, uint64_t minimum, uint64_t maximum, const char *what, struct error *error)
{
	return (value >= minimum && value <= maximum) ||
	       error_set(error, ERROR_USAGE, "%s is %llu, must be from %llu to %llu", what, (unsigned long long)value,
			 (unsigned long long)minimum, (unsigned long long)maximum);
}

static bool check_model(struct model *model, struct error *error)
{
	if (!within(model->layer_count, 1, MODEL_MAXIMUM_LAYERS, "the model's number of layers", error) ||
	    !within(model->classes, 1, MAXIMUM_CLASSES, "the model's number of classes", error))
		return false;
	if (!model_infer_shapes(model, error))
		return false;
	struct shape output = model->layers[model->layer_count - 1].output;
	return output.channels == model->classes && output.height == 1 && output.width == 1
		       ? true
		       : error_set(error, ERROR_USAGE,
				   "the last layer gives (%u, %u, %u), expected (%u, 1, 1): one score per class",
				   output.channels, output.height, output.width, model->classes);
}

static bool read_place(const struct stage_spec *spec, struct stage_plan *plan, struct error *error)
{
	plan->pipeline_size = spec->pipeline_size;
	plan->pipeline_stage = spec->pipeline_stage;
	plan->first_layer = spec->first_layer;
	plan->end_layer = spec->end_layer;
	plan->micro_batch_size = spec->micro_batch_size;
	plan->micro_batches = spec->micro_batches;
	plan->raw_image_size = spec->raw_image_size;
	plan->replica = spec->replica;
	plan->data_parallel_size = spec->data_parallel_size;
	uint32_t layers = plan->model.layer_count;
	if (!within(spec->pipeline_size, 1, SCHEDULE_MAXIMUM_STAGES, "pipeline_size", error) ||
	    !within(spec->pipeline_stage, 0, spec->pipeline_size - 1, "pipeline_stage", error) ||
	    !within(spec->end_layer, 1, layers, "end_layer", error) ||
	    !within(spec->first_layer, 0, spec->end_layer - 1, "first_layer", error) ||
	    !within(spec->micro_batch_size, 1, MODEL_MAXIMUM_MICRO_BATCH_SIZE, "micro_batch_size", error) ||
	    !within(spec->micro_batches, 1, SCHEDULE_MAXIMUM_MICRO_BATCHES, "micro_batches", error) ||
	    !within(spec->raw_image_size, 1, MODEL_MAXIMUM_IMAGE_SIZE, "raw_image_size", error) ||
	    !within(spec->data_parallel_size, 1, PROTOCOL_MAXIMUM_REPLICAS, "data_parallel_size", error) ||
	    !within(spec->replica, 0, spec->data_parallel_size - 1, "replica", error) ||
	    !within((uint64_t)spec->micro_batches * spec->data_parallel_size, 1, PROTOCOL_MAXIMUM_STEP_MICRO_BATCHES,
		    "micro_batches times data_parallel_size", error))
		return false;
	if ((plan->first_layer == 0) != stage_plan_is_first(plan) ||
	    (plan->end_layer == layers) != stage_plan_is_last(plan))
		return error_set(error, ERROR_USAGE,
				 "stage %u of %u holds layers %u to %u of %u: the stages do not cover all layers",
				 plan->pipeline_stage, plan->pipeline_size, plan->first_layer, plan->end_layer, layers);
	if (stage_plan_image_bytes(plan) > MAXIMUM_BATCH_BYTES)
		return error_set(error, ERROR_USAGE, "a micro-batch of %u images has %llu bytes, the limit is %d",
				 plan->micro_batch_size, (unsigned long long)stage_plan_image_bytes(plan),
				 MAXIMUM_BATCH_BYTES);
	return true;
}

static bool read_schedule(const struct stage_spec *spec, struct stage_plan *plan, struct error *error)
{
	uint64_t most = (uint64_t)INSTRUCTIONS_PER_MICRO_BATCH * plan->micro_batches + 2;
	if (!within(spec->schedule.slots, 1, plan->micro_batches, "slots", error) ||
	    !within(spec->schedule.count, 1, most, "the number of instructions", error))
		return false;
	plan->schedule.slots = spec->schedule.slots;
	plan->schedule.instructions = calloc(spec->schedule.count, sizeof(struct instruction));
	if (plan->schedule.instructions == NULL)
		return error_set(error, ERROR_FAILED, "no memory for the schedule");
	plan->schedule.count = spec->schedule.count;
	for (uint32_t i = 0; i < plan->schedule.count; i++) {
		plan->schedule.instructions[i] = spec->schedule.instructions[i];
		if (plan->schedule.instructions[i].kind == INSTRUCTION_BACKWARD_INPUT ||
		    plan->schedule.instructions[i].kind == INSTRUCTION_BACKWARD_WEIGHT)
			return error_set(
				error, ERROR_USAGE,
				"the schedule splits the backward pass, which no device of this daemon can do");
	}
	return schedule_check_stage(&plan->schedule, plan->pipeline_stage, plan->pipeline_size, plan->micro_batches,
				    error);
}

static bool read_precision(const struct stage_spec *spec, struct stage_plan *plan, struct error *error)
{
	plan->compute_type = spec->compute_type;
	plan->boundary_type = spec->boundary_type;
	plan->allow_tf32 = spec->allow_tf32;
	plan->checkpoint_interval = spec->checkpoint_interval;
	plan->loss_scaling = spec->loss_scaling;
	plan->initial_loss_scale = spec->loss_scaling ? spec->initial_loss_scale : 1.0f;
	if (plan->loss_scaling && !(isfinite(plan->initial_loss_scale) && plan->initial_loss_scale > 0))
		return error_set(error, ERROR_USAGE, "initial_loss_scale is %g, must be above 0",
				 strings_unsigned_nan((double)plan->initial_loss_scale));
	return true;
}

static bool read_optimizer(const struct stage_spec *spec, struct stage_plan *plan, struct error *error)
{
	plan->optimizer = spec->optimizer;
	return optimizer_check(&plan->optimizer, error) ||
	       error_wrap(error, "optimizer %s", optimizer_name(plan->optimizer.kind));
}

static bool read_normalisation(const struct stage_spec *spec, struct stage_plan *plan, struct error *error)
{
	for (int c = 0; c < 3; c++) {
		plan->mean[c] = spec->mean[c];
		plan->standard_deviation[c] = spec->standard_deviation[c];
		if (!isfinite(plan->mean[c]) || !isfinite(plan->standard_deviation[c]) ||
		    !(plan->standard_deviation[c] > 0))
			return error_set(error, ERROR_USAGE,
					 "channel %d: mean %g, standard deviation %g cannot normalise", c,
					 strings_unsigned_nan((double)plan->mean[c]),
					 strings_unsigned_nan((double)plan->standard_deviation[c]));
	}
	return true;
}

// What crosses the model before layer `layer`.
static struct tensor_shape shape_before(const struct stage_plan *plan, uint32_t layer)
{
	struct shape shape = plan->model.layers[layer].input;
	struct tensor_shape tensor = {
		.rank = 4, .dimensions = {plan->micro_batch_size, shape.channels, shape.height, shape.width}};
	for (uint32_t i = 0; i < layer; i++)
		if (plan->model.layers[i].kind == LAYER_FLATTEN)
			tensor = (struct tensor_shape){.rank = 2,
						       .dimensions = {plan->micro_batch_size, shape.channels}};
	tensor.type = plan->boundary_type;
	tensor.bytes = shape_count(shape) * plan->micro_batch_size * data_type_bytes(plan->boundary_type);
	return tensor;
}

static bool read_boundary(struct stage_plan *plan, enum neighbour side, bool local, uint32_t receive_depth,
			  uint32_t send_depth, struct error *error)
{
	bool previous = side == NEIGHBOUR_PREVIOUS;
	if (previous ? stage_plan_is_first(plan) : stage_plan_is_last(plan))
		return true;
	if (!within(receive_depth, 1, plan->micro_batches,
		    previous ? "receive_depth_from_previous" : "receive_depth_from_next", error) ||
	    !within(send_depth, 1, plan->micro_batches, previous ? "send_depth_to_previous" : "send_depth_to_next",
		    error))
		return false;
	plan->boundary[side].exists = true;
	plan->boundary[side].local = local;
	plan->boundary[side].shape = shape_before(plan, previous ? plan->first_layer : plan->end_layer);
	plan->boundary[side].receive_depth = receive_depth;
	plan->boundary[side].send_depth = send_depth;
	plan->boundary[side].incoming = previous ? TENSOR_ACTIVATION : TENSOR_GRADIENT;
	plan->boundary[side].outgoing = previous ? TENSOR_GRADIENT : TENSOR_ACTIVATION;
	plan->boundary[side].tensors_per_step = plan->micro_batches;
	uint32_t *order = calloc(plan->micro_batches, sizeof(*order));
	plan->boundary[side].order = order;
	if (order == NULL)
		return error_set(error, ERROR_FAILED, "no memory for the schedule");
	enum instruction_kind kind = previous ? INSTRUCTION_RECV_ACTIVATION : INSTRUCTION_RECV_GRADIENT;
	uint32_t count = 0; // the schedule was checked: there are micro_batches of them
	for (uint32_t i = 0; i < plan->schedule.count && count < plan->micro_batches; i++)
		if (plan->schedule.instructions[i].kind == kind)
			order[count++] = plan->schedule.instructions[i].micro_batch;
	return true;
}

// The ring of the stage's replicas, or their group, where there are gradients to sum.
static bool read_replicas(const struct stage_spec *spec, struct stage_plan *plan, struct error *error)
{
	uint64_t floats = model_parameter_floats(&plan->model, plan->first_layer, plan->end_layer);
	uint64_t behind = model_parameter_floats(&plan->model, plan->end_layer, plan->model.layer_count);
	uint64_t total = model_parameter_floats(&plan->model, 0, plan->model.layer_count);
	if (plan->data_parallel_size == 1 || floats == 0)
		return true;
	plan->reduce_in_group = spec->reduce_in_group;
	if (plan->reduce_in_group)
		return true;
	if (!within(spec->reduce_bucket_bytes, PROTOCOL_MINIMUM_BUCKET_BYTES, PROTOCOL_MAXIMUM_BUCKET_BYTES,
		    "reduce_bucket_bytes", error))
		return false;
	plan->ring = ring_make(behind, floats, total, plan->data_parallel_size, spec->reduce_bucket_bytes);
	if (!within(plan->ring.buckets * ring_hops(&plan->ring), 1, UINT32_MAX, "the number of pieces to sum", error))
		return false;
	for (enum neighbour side = NEIGHBOUR_PREVIOUS_REPLICA; side <= NEIGHBOUR_NEXT_REPLICA; side++) {
		bool previous = side == NEIGHBOUR_PREVIOUS_REPLICA;
		plan->boundary[side].exists = true;
		plan->boundary[side].local = previous ? spec->previous_replica_is_local : spec->next_replica_is_local;
		plan->boundary[side].shape = (struct tensor_shape){.rank = 1,
								   .dimensions = {(uint32_t)plan->ring.piece_floats},
								   .type = DATA_FLOAT32,
								   .bytes = plan->ring.piece_floats * sizeof(float)};
		plan->boundary[side].tensors_per_step = (uint32_t)(plan->ring.buckets * ring_hops(&plan->ring));
		*(previous ? &plan->boundary[side].receive_depth : &plan->boundary[side].send_depth) = RING_DEPTH;
		*(previous ? &plan->boundary[side].incoming : &plan->boundary[side].outgoing) = TENSOR_GRADIENT_SUM;
	}
	return true;
}

bool stage_plan_read(const struct stage_spec *spec, struct stage_plan *ret_plan, struct error *error)
{
	struct stage_plan *plan = ret_plan;
	*plan = (struct stage_plan){
		.model = *spec->model, .seed = spec->seed, .gradient_clipping = spec->gradient_clipping};
	if (check_model(&plan->model, error) && read_place(spec, plan, error) && read_schedule(spec, plan, error) &&
	    read_optimizer(spec, plan, error) && read_normalisation(spec, plan, error) &&
	    read_precision(spec, plan, error) &&
	    read_boundary(plan, NEIGHBOUR_PREVIOUS, spec->previous_is_local, spec->receive_depth_from_previous,
			  spec->send_depth_to_previous, error) &&
	    read_boundary(plan, NEIGHBOUR_NEXT, spec->next_is_local, spec->receive_depth_from_next,
			  spec->send_depth_to_next, error) &&
	    read_replicas(spec, plan, error))
		return true;
	stage_plan_fini(plan);
	return error_wrap(error, "plan of stage %u", spec->pipeline_stage);
}

void stage_plan_fini(struct stage_plan *plan)
{
	free(plan->schedule.instructions);
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		free(plan->boundary[side].order);
	*plan = (struct stage_plan){0};
}

const char *neighbour_name(enum neighbour side)
{
	static const char *const names[NEIGHBOUR_COUNT] = {"previous stage", "next stage", "previous replica",
							   "next replica"};
	return names[side];
}

uint32_t stage_plan_peer_stage(const struct stage_plan *plan, enum neighbour side)
{
	return side == NEIGHBOUR_PREVIOUS ? plan->pipeline_stage - 1
	       : side == NEIGHBOUR_NEXT   ? plan->pipeline_stage + 1
					  : plan->pipeline_stage;
}

uint32_t stage_plan_peer_replica(const struct stage_plan *plan, enum neighbour side)
{
	uint32_t d = plan->data_parallel_size;
	return side == NEIGHBOUR_PREVIOUS_REPLICA ? (plan->replica + d - 1) % d
	       : side == NEIGHBOUR_NEXT_REPLICA   ? (plan->replica + 1) % d
						  : plan->replica;
}

uint64_t stage_plan_image_bytes(const struct stage_plan *plan)
{
	return (uint64_t)plan->micro_batch_size * 3 * plan->raw_image_size * plan->raw_image_size;
}

void stage_plan_program_spec(const struct stage_plan *plan, struct program_spec *ret_spec)
{
	*ret_spec = (struct program_spec){
		.model = &plan->model,
		.first_layer = plan->first_layer,
		.end_layer = plan->end_layer,
		.micro_batch_size = plan->micro_batch_size,
		.micro_batches = plan->micro_batches * plan->data_parallel_size,
		.slots = plan->schedule.slots,
		.marks = stage_plan_mark(plan, MARK_COUNT, 0),
		.optimizer = plan->optimizer,
		.compute_type = plan->compute_type,
		.allow_tf32 = plan->allow_tf32,
		.boundary_type = plan->boundary_type,
		.checkpoint_interval = plan->checkpoint_interval,
		.seed = plan->seed,
		.training = true,
		.replicas = plan->ring.buckets > 0,
		.group = plan->reduce_in_group,
		.raw_image_size = plan->raw_image_size,
	};
	memcpy(ret_spec->mean, plan->mean, sizeof(plan->mean));
	memcpy(ret_spec->standard_deviation, plan->standard_deviation, sizeof(plan->standard_deviation));
}
