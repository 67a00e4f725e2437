// The enums of the wire, each written once.
#include "common/wire/types.h"

#include "common/job/step.h"
#include "common/job/tensor.h"
#include "common/model/model.h"
#include "common/schedule/schedule.h"
#include "common/wire/codec.h"
#include "common/wire/health.h"
#include "grpc/health/v1/health.pb-c.h"
#include "penstock/v1/stage_server.pb-c.h"

#define TABLE_OF(rows)                                                                                                 \
	{                                                                                                              \
		(rows), sizeof(rows) / sizeof((rows)[0])                                                               \
	}
#define ROW(ours, NAME)                                                                                                \
	{                                                                                                              \
		ours, PENSTOCK__V1__##NAME                                                                             \
	}

// UINT8 is for tensors of bytes, of which there are none yet.
static const struct enum_row data_types[] = {
	ROW(DATA_FLOAT32, DATA_TYPE__DATA_TYPE_FLOAT32),
	ROW(DATA_BFLOAT16, DATA_TYPE__DATA_TYPE_BFLOAT16),
	ROW(DATA_FLOAT16, DATA_TYPE__DATA_TYPE_FLOAT16),
};
const struct enum_table wire_data_types = TABLE_OF(data_types);

static const struct enum_row layer_kinds[] = {
	ROW(LAYER_CONVOLUTION, LAYER_KIND__LAYER_KIND_CONVOLUTION),
	ROW(LAYER_RELU, LAYER_KIND__LAYER_KIND_RELU),
	ROW(LAYER_MAX_POOL, LAYER_KIND__LAYER_KIND_MAX_POOL),
	ROW(LAYER_ADAPTIVE_AVERAGE_POOL, LAYER_KIND__LAYER_KIND_ADAPTIVE_AVERAGE_POOL),
	ROW(LAYER_FLATTEN, LAYER_KIND__LAYER_KIND_FLATTEN),
	ROW(LAYER_DROPOUT, LAYER_KIND__LAYER_KIND_DROPOUT),
	ROW(LAYER_LINEAR, LAYER_KIND__LAYER_KIND_LINEAR),
};
const struct enum_table wire_layer_kinds = TABLE_OF(layer_kinds);

static const struct enum_row instruction_kinds[] = {
	ROW(INSTRUCTION_LOAD_INPUT, INSTRUCTION_KIND__INSTRUCTION_KIND_LOAD_INPUT),
	ROW(INSTRUCTION_FORWARD, INSTRUCTION_KIND__INSTRUCTION_KIND_FORWARD),
	ROW(INSTRUCTION_BACKWARD, INSTRUCTION_KIND__INSTRUCTION_KIND_BACKWARD),
	ROW(INSTRUCTION_BACKWARD_INPUT, INSTRUCTION_KIND__INSTRUCTION_KIND_BACKWARD_INPUT),
	ROW(INSTRUCTION_BACKWARD_WEIGHT, INSTRUCTION_KIND__INSTRUCTION_KIND_BACKWARD_WEIGHT),
	ROW(INSTRUCTION_SEND_ACTIVATION, INSTRUCTION_KIND__INSTRUCTION_KIND_SEND_ACTIVATION),
	ROW(INSTRUCTION_RECV_ACTIVATION, INSTRUCTION_KIND__INSTRUCTION_KIND_RECV_ACTIVATION),
	ROW(INSTRUCTION_SEND_GRADIENT, INSTRUCTION_KIND__INSTRUCTION_KIND_SEND_GRADIENT),
	ROW(INSTRUCTION_RECV_GRADIENT, INSTRUCTION_KIND__INSTRUCTION_KIND_RECV_GRADIENT),
	ROW(INSTRUCTION_REDUCE_GRADIENTS, INSTRUCTION_KIND__INSTRUCTION_KIND_REDUCE_GRADIENTS),
	ROW(INSTRUCTION_OPTIMIZER_STEP, INSTRUCTION_KIND__INSTRUCTION_KIND_OPTIMIZER_STEP),
};
const struct enum_table wire_instruction_kinds = TABLE_OF(instruction_kinds);

static const struct enum_row batch_kinds[] = {
	ROW(BATCH_IMAGES, BATCH__KIND__KIND_IMAGES),
	ROW(BATCH_LABELS, BATCH__KIND__KIND_LABELS),
};
const struct enum_table wire_batch_kinds = TABLE_OF(batch_kinds);

static const struct enum_row tensor_kinds[] = {
	ROW(TENSOR_NONE, TENSOR_KIND__TENSOR_KIND_UNSPECIFIED),
	ROW(TENSOR_ACTIVATION, TENSOR_KIND__TENSOR_KIND_ACTIVATION),
	ROW(TENSOR_GRADIENT, TENSOR_KIND__TENSOR_KIND_GRADIENT),
	ROW(TENSOR_GRADIENT_SUM, TENSOR_KIND__TENSOR_KIND_GRADIENT_SUM),
};
const struct enum_table wire_tensor_kinds = TABLE_OF(tensor_kinds);

#define STATE(name)                                                                                                    \
	{                                                                                                              \
		HEALTH_##name, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name                         \
	}
static const struct enum_row health_states[] = {
	STATE(UNKNOWN),
	STATE(SERVING),
	STATE(NOT_SERVING),
	STATE(SERVICE_UNKNOWN),
};
const struct enum_table wire_health_states = TABLE_OF(health_states);

uint32_t wire_data_type(enum data_type type)
{
	return (uint32_t)enum_write(&wire_data_types, (int)type);
}
