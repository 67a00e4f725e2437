// The plan on the wire: each stage gets the whole model and its own list of instructions.
#include <stdlib.h>
#include <string.h>

#include "common/rpc/wire_types.h"
#include "coordinator/plan/plan.h"

static void fill_layer(const struct layer *layer, Penstock__V1__Layer *message)
{
	penstock__v1__layer__init(message);
	message->kind = (Penstock__V1__LayerKind)layer->kind;
	message->name = (char *)layer->name;
	message->in_channels = layer->in_channels;
	message->out_channels = layer->out_channels;
	message->kernel_size = layer->kernel_size;
	message->stride = layer->stride;
	message->padding = layer->padding;
	message->output_size = layer->output_size;
	message->probability = layer->probability;
	message->initializer = layer->initializer;
}

static void fill_precision(const struct plan_options *options, Penstock__V1__StagePlan *message)
{
	message->compute_type = wire_type_of(options->compute_type);
	message->boundary_type = wire_type_of(options->boundary_type);
	message->allow_tf32 = options->allow_tf32;
	message->checkpoint_interval = options->checkpoint_interval;
	message->loss_scaling = options->compute_type == DATA_FLOAT16;
	message->initial_loss_scale = message->loss_scaling ? options->initial_loss_scale : 0.0f;
}

// What may be on its way to a neighbour at once. One in the same daemon reads tensors where they are, so what may be unread there
// counts, too.
static uint32_t send_depth(const struct plan *plan, uint32_t s, bool to_next, bool is_local)
{
	uint32_t depth = plan_send_depth(plan, s, to_next);
	if (is_local)
		depth += plan_receive_depth(plan, to_next ? s + 1 : s - 1);
	return depth < plan->options.micro_batches ? depth : plan->options.micro_batches;
}

static void fill_place(const struct plan *plan, uint32_t s, const struct plan_place *place,
		       Penstock__V1__StagePlan *message)
{
	const struct plan_options *options = &plan->options;
	message->first_layer = plan->stages[s].first_layer;
	message->end_layer = plan->stages[s].end_layer;
	message->pipeline_stage = s;
	message->pipeline_size = options->pipeline_size;
	message->data_parallel_size = options->data_parallel_size;
	message->micro_batch_size = options->micro_batch_size;
	message->micro_batches = options->micro_batches;
	message->slots = plan->schedule->stage[s].slots;
	message->seed = options->seed;
	message->gradient_clipping = options->gradient_clipping;
	message->raw_image_size = options->raw_image_size;
	message->previous_replica_is_local = place->previous_replica_is_local;
	message->next_replica_is_local = place->next_replica_is_local;
	message->reduce_bucket_bytes = options->reduce_bucket_bytes;
	message->reduce_in_group = place->reduce_in_group;
	if (s > 0) {
		message->receive_depth_from_previous = plan_receive_depth(plan, s);
		message->send_depth_to_previous = send_depth(plan, s, false, place->previous_is_local);
		message->previous_is_local = place->previous_is_local;
	}
	if (s + 1 < options->pipeline_size) {
		message->receive_depth_from_next = plan_receive_depth(plan, s);
		message->send_depth_to_next = send_depth(plan, s, true, place->next_is_local);
		message->next_is_local = place->next_is_local;
	}
}

// A message that owns all it points to: packed from one that borrows, and unpacked again.
static Penstock__V1__StagePlan *own(const Penstock__V1__StagePlan *borrowing)
{
	size_t size = penstock__v1__stage_plan__get_packed_size(borrowing);
	uint8_t *bytes = malloc(size);
	if (bytes == NULL)
		return NULL;
	penstock__v1__stage_plan__pack(borrowing, bytes);
	Penstock__V1__StagePlan *owning = penstock__v1__stage_plan__unpack(NULL, size, bytes);
	free(bytes);
	return owning;
}

Penstock__V1__StagePlan *plan_stage_message(const struct plan *plan, uint32_t replica, uint32_t stage,
					    const struct plan_place *place)
{
	const struct stage_schedule *schedule = &plan->schedule->stage[stage];
	const struct plan_options *options = &plan->options;
	Penstock__V1__StagePlan message = PENSTOCK__V1__STAGE_PLAN__INIT;
	Penstock__V1__Model model = PENSTOCK__V1__MODEL__INIT;
	Penstock__V1__Optimizer optimizer = PENSTOCK__V1__OPTIMIZER__INIT;
	Penstock__V1__Layer layers[MODEL_MAXIMUM_LAYERS], *layer_pointers[MODEL_MAXIMUM_LAYERS];
	for (uint32_t i = 0; i < plan->model.layer_count; i++) {
		fill_layer(&plan->model.layers[i], &layers[i]);
		layer_pointers[i] = &layers[i];
	}
	model.name = (char *)plan->model.name;
	model.image_size = plan->model.image_size;
	model.classes = plan->model.classes;
	model.n_layers = plan->model.layer_count;
	model.layers = layer_pointers;
	optimizer.name = (char *)optimizer_name(options->optimizer.kind);
	optimizer.weight_decay = options->optimizer.weight_decay;
	optimizer.dampening = options->optimizer.dampening;
	optimizer.nesterov = options->optimizer.nesterov;
	optimizer.epsilon = options->optimizer.epsilon;
	optimizer.no_momentum = options->optimizer.no_momentum;
	optimizer.epsilon_inside_root = options->optimizer.epsilon_inside_root;
	optimizer.no_bias_correction = options->optimizer.no_bias_correction;
	optimizer.minimum_coefficient = options->optimizer.minimum_coefficient;
	optimizer.maximum_coefficient = options->optimizer.maximum_coefficient;
	message.model = &model;
	message.optimizer = &optimizer;
	message.replica = replica;
	message.device_index = place->device;
	message.n_mean = message.n_standard_deviation = 3;
	message.mean = (float *)options->mean;
	message.standard_deviation = (float *)options->standard_deviation;
	fill_place(plan, stage, place, &message);
	fill_precision(options, &message);
	Penstock__V1__Instruction *instructions = calloc(schedule->count, sizeof(*instructions));
	Penstock__V1__Instruction **pointers = calloc(schedule->count, sizeof(*pointers));
	Penstock__V1__StagePlan *owned = NULL;
	if (instructions != NULL && pointers != NULL) {
		for (uint32_t i = 0; i < schedule->count; i++) {
			penstock__v1__instruction__init(&instructions[i]);
			instructions[i].kind = (Penstock__V1__InstructionKind)schedule->instructions[i].kind;
			instructions[i].micro_batch = schedule->instructions[i].micro_batch;
			pointers[i] = &instructions[i];
		}
		message.n_instructions = schedule->count;
		message.instructions = pointers;
		owned = own(&message);
	}
	free(instructions);
	free(pointers);
	return owned;
}

void plan_free_message(Penstock__V1__StagePlan *message)
{
	if (message != NULL)
		penstock__v1__stage_plan__free_unpacked(message, NULL);
}
