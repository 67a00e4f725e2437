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

static bool copy_name(const char *from, char *into, size_t size, const char *what, struct error *error)
{
	if (strlen(from) >= size)
		return error_set(error, ERROR_USAGE, "%s \"%.40s...\" is longer than %zu characters", what, from,
				 size - 1);
	strcpy(into, from);
	return true;
}

static bool read_layer(const Penstock__V1__Layer *message, struct layer *layer, struct error *error)
{
	*layer = (struct layer){
		.kind = (enum layer_kind)message->kind,
		.in_channels = message->in_channels,
		.out_channels = message->out_channels,
		.kernel_size = message->kernel_size,
		.stride = message->stride,
		.padding = message->padding,
		.output_size = message->output_size,
		.probability = message->probability,
		.initializer = (enum initializer)message->initializer,
	};
	return copy_name(message->name, layer->name, sizeof(layer->name), "a layer's name", error);
}

static bool read_model(const Penstock__V1__Model *message, struct model *model, struct error *error)
{
	if (message == NULL)
		return error_set(error, ERROR_PROTOCOL, "the plan has no model");
	*model = (struct model){.image_size = message->image_size, .classes = message->classes};
	if (!within(message->n_layers, 1, MODEL_MAXIMUM_LAYERS, "the model's number of layers", error) ||
	    !within(message->classes, 1, MAXIMUM_CLASSES, "the model's number of classes", error) ||
	    !copy_name(message->name, model->name, sizeof(model->name), "the model's name", error))
		return false;
	model->layer_count = (uint32_t)message->n_layers;
	for (uint32_t i = 0; i < model->layer_count; i++)
		if (!read_layer(message->layers[i], &model->layers[i], error))
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

static bool read_place(const Penstock__V1__StagePlan *message, struct stage_plan *plan, struct error *error)
{
	plan->pipeline_size = message->pipeline_size;
	plan->pipeline_stage = message->pipeline_stage;
	plan->first_layer = message->first_layer;
	plan->end_layer = message->end_layer;
	plan->micro_batch_size = message->micro_batch_size;
	plan->micro_batches = message->micro_batches;
	plan->raw_image_size = message->raw_image_size;
	plan->replica = message->replica;
	plan->data_parallel_size = message->data_parallel_size;
	uint32_t layers = plan->model.layer_count;
	if (!within(message->pipeline_size, 1, SCHEDULE_MAXIMUM_STAGES, "pipeline_size", error) ||
	    !within(message->pipeline_stage, 0, message->pipeline_size - 1, "pipeline_stage", error) ||
	    !within(message->end_layer, 1, layers, "end_layer", error) ||
	    !within(message->first_layer, 0, message->end_layer - 1, "first_layer", error) ||
	    !within(message->micro_batch_size, 1, MODEL_MAXIMUM_MICRO_BATCH_SIZE, "micro_batch_size", error) ||
	    !within(message->micro_batches, 1, SCHEDULE_MAXIMUM_MICRO_BATCHES, "micro_batches", error) ||
	    !within(message->raw_image_size, 1, MODEL_MAXIMUM_IMAGE_SIZE, "raw_image_size", error) ||
	    !within(message->data_parallel_size, 1, PROTOCOL_MAXIMUM_REPLICAS, "data_parallel_size", error) ||
	    !within(message->replica, 0, message->data_parallel_size - 1, "replica", error) ||
	    !within((uint64_t)message->micro_batches * message->data_parallel_size, 1,
		    PROTOCOL_MAXIMUM_STEP_MICRO_BATCHES, "micro_batches times data_parallel_size", error))
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

static bool read_schedule(const Penstock__V1__StagePlan *message, struct stage_plan *plan, struct error *error)
{
	uint64_t most = (uint64_t)INSTRUCTIONS_PER_MICRO_BATCH * plan->micro_batches + 2;
	if (!within(message->slots, 1, plan->micro_batches, "slots", error) ||
	    !within(message->n_instructions, 1, most, "the number of instructions", error))
		return false;
	plan->schedule.slots = message->slots;
	plan->schedule.instructions = calloc(message->n_instructions, sizeof(struct instruction));
	if (plan->schedule.instructions == NULL)
		return error_set(error, ERROR_FAILED, "no memory for the schedule");
	plan->schedule.count = (uint32_t)message->n_instructions;
	for (uint32_t i = 0; i < plan->schedule.count; i++) {
		const Penstock__V1__Instruction *instruction = message->instructions[i];
		plan->schedule.instructions[i] =
			(struct instruction){(enum instruction_kind)instruction->kind, instruction->micro_batch};
		if (instruction->kind == PENSTOCK__V1__INSTRUCTION_KIND__INSTRUCTION_KIND_BACKWARD_INPUT ||
		    instruction->kind == PENSTOCK__V1__INSTRUCTION_KIND__INSTRUCTION_KIND_BACKWARD_WEIGHT)
			return error_set(error, ERROR_USAGE,
					 "the schedule splits the backward pass, but no device of this daemon can");
	}
	return schedule_check_stage(&plan->schedule, plan->pipeline_stage, plan->pipeline_size, plan->micro_batches,
				    error);
}

static bool read_type(Penstock__V1__DataType wire, enum data_type unspecified, const char *what,
		      enum data_type *ret_type, struct error *error)
{
	switch (wire) {
	case PENSTOCK__V1__DATA_TYPE__DATA_TYPE_UNSPECIFIED:
		*ret_type = unspecified;
		return true;
	case PENSTOCK__V1__DATA_TYPE__DATA_TYPE_FLOAT32:
		*ret_type = DATA_FLOAT32;
		return true;
	case PENSTOCK__V1__DATA_TYPE__DATA_TYPE_BFLOAT16:
		*ret_type = DATA_BFLOAT16;
		return true;
	case PENSTOCK__V1__DATA_TYPE__DATA_TYPE_FLOAT16:
		*ret_type = DATA_FLOAT16;
		return true;
	default:
		return error_set(error, ERROR_USAGE, "%s is %d, which is not a floating-point type", what, (int)wire);
	}
}

static bool read_precision(const Penstock__V1__StagePlan *message, struct stage_plan *plan, struct error *error)
{
	plan->allow_tf32 = message->allow_tf32;
	plan->checkpoint_interval = message->checkpoint_interval;
	plan->loss_scaling = message->loss_scaling;
	plan->initial_loss_scale = message->loss_scaling ? message->initial_loss_scale : 1.0f;
	if (plan->loss_scaling && !(isfinite(plan->initial_loss_scale) && plan->initial_loss_scale > 0))
		return error_set(error, ERROR_USAGE, "initial_loss_scale is %g, must be above 0",
				 strings_unsigned_nan((double)plan->initial_loss_scale));
	return read_type(message->compute_type, DATA_FLOAT32, "compute_type", &plan->compute_type, error) &&
	       read_type(message->boundary_type, plan->compute_type, "boundary_type", &plan->boundary_type, error);
}

static bool read_optimizer(const Penstock__V1__StagePlan *message, struct stage_plan *plan, struct error *error)
{
	const Penstock__V1__Optimizer *optimizer = message->optimizer;
	if (optimizer == NULL)
		return error_set(error, ERROR_PROTOCOL, "the plan has no optimizer");
	if (!optimizer_parse(optimizer->name, &plan->optimizer.kind))
		return error_set(error, ERROR_USAGE, "unknown optimizer \"%.40s\"", optimizer->name);
	plan->optimizer.weight_decay = optimizer->weight_decay;
	plan->optimizer.dampening = optimizer->dampening;
	plan->optimizer.nesterov = optimizer->nesterov;
	plan->optimizer.epsilon = optimizer->epsilon;
	plan->optimizer.no_momentum = optimizer->no_momentum;
	plan->optimizer.epsilon_inside_root = optimizer->epsilon_inside_root;
	plan->optimizer.no_bias_correction = optimizer->no_bias_correction;
	plan->optimizer.minimum_coefficient = optimizer->minimum_coefficient;
	plan->optimizer.maximum_coefficient = optimizer->maximum_coefficient;
	return optimizer_check(&plan->optimizer, error) || error_wrap(error, "optimizer %s", optimizer->name);
}

static bool read_normalisation(const Penstock__V1__StagePlan *message, struct stage_plan *plan, struct error *error)
{
	if (message->n_mean != 3 || message->n_standard_deviation != 3)
		return error_set(error, ERROR_PROTOCOL, "mean and standard_deviation need three channels each");
	for (int c = 0; c < 3; c++) {
		plan->mean[c] = message->mean[c];
		plan->standard_deviation[c] = message->standard_deviation[c];
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
static bool read_replicas(const Penstock__V1__StagePlan *message, struct stage_plan *plan, struct error *error)
{
	uint64_t floats = model_parameter_floats(&plan->model, plan->first_layer, plan->end_layer);
	uint64_t behind = model_parameter_floats(&plan->model, plan->end_layer, plan->model.layer_count);
	uint64_t total = model_parameter_floats(&plan->model, 0, plan->model.layer_count);
	if (plan->data_parallel_size == 1 || floats == 0)
		return true;
	plan->reduce_in_group = message->reduce_in_group;
	if (plan->reduce_in_group)
		return true;
	if (!within(message->reduce_bucket_bytes, PROTOCOL_MINIMUM_BUCKET_BYTES, PROTOCOL_MAXIMUM_BUCKET_BYTES,
		    "reduce_bucket_bytes", error))
		return false;
	plan->ring = ring_make(behind, floats, total, plan->data_parallel_size, message->reduce_bucket_bytes);
	if (!within(plan->ring.buckets * ring_hops(&plan->ring), 1, UINT32_MAX, "the number of pieces to sum", error))
		return false;
	for (enum neighbour side = NEIGHBOUR_PREVIOUS_REPLICA; side <= NEIGHBOUR_NEXT_REPLICA; side++) {
		bool previous = side == NEIGHBOUR_PREVIOUS_REPLICA;
		plan->boundary[side].exists = true;
		plan->boundary[side].local =
			previous ? message->previous_replica_is_local : message->next_replica_is_local;
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

bool stage_plan_read(const Penstock__V1__StagePlan *message, struct stage_plan *ret_plan, struct error *error)
{
	struct stage_plan *plan = ret_plan;
	*plan = (struct stage_plan){.seed = message->seed, .gradient_clipping = message->gradient_clipping};
	if (read_model(message->model, &plan->model, error) && read_place(message, plan, error) &&
	    read_schedule(message, plan, error) && read_optimizer(message, plan, error) &&
	    read_normalisation(message, plan, error) && read_precision(message, plan, error) &&
	    read_boundary(plan, NEIGHBOUR_PREVIOUS, message->previous_is_local, message->receive_depth_from_previous,
			  message->send_depth_to_previous, error) &&
	    read_boundary(plan, NEIGHBOUR_NEXT, message->next_is_local, message->receive_depth_from_next,
			  message->send_depth_to_next, error) &&
	    read_replicas(message, plan, error))
		return true;
	stage_plan_fini(plan);
	return error_wrap(error, "plan of stage %u", message->pipeline_stage);
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
