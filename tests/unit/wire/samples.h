// A stage's plan with a value of its own in each field.
#pragma once

#include <string.h>

#include "common/job/session.h"

static inline struct model sample_model(void)
{
	struct model model = {.name = "net", .image_size = 64, .classes = 10, .layer_count = 2};
	model.layers[0] = (struct layer){.kind = LAYER_MAX_POOL,
					 .name = "pool",
					 .in_channels = 11,
					 .out_channels = 12,
					 .kernel_size = 13,
					 .stride = 14,
					 .padding = 15,
					 .output_size = 16,
					 .probability = 0.25f,
					 .initializer = INITIALIZER_NORMAL_001};
	model.layers[1] = (struct layer){.kind = LAYER_FLATTEN, .name = "flat"};
	return model;
}

static inline struct stage_spec sample_plan(const struct model *model, struct instruction instructions[2])
{
	instructions[0] = (struct instruction){INSTRUCTION_RECV_ACTIVATION, 5};
	instructions[1] = (struct instruction){.kind = INSTRUCTION_OPTIMIZER_STEP};
	return (struct stage_spec){
		.model = model,
		.first_layer = 1,
		.end_layer = 2,
		.pipeline_stage = 3,
		.pipeline_size = 4,
		.replica = 6,
		.data_parallel_size = 7,
		.micro_batch_size = 8,
		.micro_batches = 9,
		.schedule = {.instructions = instructions, .count = 2, .slots = 10},
		.optimizer = {.kind = OPTIMIZER_LAMB,
			      .weight_decay = 0.5f,
			      .dampening = 1.5f,
			      .nesterov = true,
			      .no_momentum = true,
			      .epsilon = 2.5f,
			      .epsilon_inside_root = true,
			      .no_bias_correction = true,
			      .minimum_coefficient = 3.5f,
			      .maximum_coefficient = 4.5f},
		.seed = UINT64_C(1) << 40,
		.gradient_clipping = true,
		.raw_image_size = 32,
		.mean = {0.125f, 0.375f, 0.625f},
		.standard_deviation = {5.5f, 6.5f, 7.5f},
		.receive_depth_from_previous = 18,
		.receive_depth_from_next = 19,
		.send_depth_to_previous = 20,
		.send_depth_to_next = 21,
		.device_index = 23,
		.compute_type = DATA_FLOAT16,
		.boundary_type = DATA_BFLOAT16,
		.allow_tf32 = true,
		.checkpoint_interval = 27,
		.loss_scaling = true,
		.initial_loss_scale = 1024,
		.previous_is_local = true,
		.next_is_local = true,
		.previous_replica_is_local = true,
		.next_replica_is_local = true,
		.reduce_bucket_bytes = 34,
		.reduce_in_group = true,
	};
}

#define SAMPLE_PLAN_TEXT                                                                                               \
	"{ model { name: \"net\" image_size: 64 classes: 10 layers { kind: LAYER_KIND_MAX_POOL name: \"pool\" "        \
	"in_channels: 11 out_channels: 12 kernel_size: 13 stride: 14 padding: 15 output_size: 16 probability: 0.25 "   \
	"initializer: 3 } layers { kind: LAYER_KIND_FLATTEN name: \"flat\" } } first_layer: 1 end_layer: 2 "           \
	"pipeline_stage: 3 pipeline_size: 4 replica: 6 data_parallel_size: 7 micro_batch_size: 8 micro_batches: 9 "    \
	"slots: 10 instructions { kind: INSTRUCTION_KIND_RECV_ACTIVATION micro_batch: 5 } instructions { kind: "       \
	"INSTRUCTION_KIND_OPTIMIZER_STEP } optimizer { name: \"Lamb\" weight_decay: 0.5 dampening: 1.5 nesterov: "     \
	"true "                                                                                                        \
	"epsilon: 2.5 no_momentum: true epsilon_inside_root: true no_bias_correction: true minimum_coefficient: 3.5 "  \
	"maximum_coefficient: 4.5 } seed: 1099511627776 gradient_clipping: true raw_image_size: 32 mean: 0.125 mean: " \
	"0.375 mean: 0.625 standard_deviation: 5.5 standard_deviation: 6.5 standard_deviation: 7.5 "                   \
	"receive_depth_from_previous: 18 receive_depth_from_next: 19 send_depth_to_previous: 20 send_depth_to_next: "  \
	"21 device_index: 23 compute_type: DATA_TYPE_FLOAT16 boundary_type: DATA_TYPE_BFLOAT16 allow_tf32: true "      \
	"checkpoint_interval: 27 loss_scaling: true initial_loss_scale: 1024 previous_is_local: true next_is_local: "  \
	"true previous_replica_is_local: true next_replica_is_local: true reduce_bucket_bytes: 34 reduce_in_group: "   \
	"true }"
