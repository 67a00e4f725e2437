// A stage's plan from the wire (common/wire/stage, stage_server/executor/stage_plan): what is accepted holds what an executor relies on, its sizes are
// those of arithmetic that cannot overflow. Bytes are a StagePlan.
#include <string.h>

#include "common/base/strings.h"
#include "common/rpc/protocol.h"
#include "common/wire/internal.h"
#include "stage_server/device/program_spec.h"
#include "stage_server/exchange/link.h"
#include "stage_server/executor/batches.h"
#include "stage_server/executor/reducer.h"
#include "stage_server/executor/stage_plan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate.h"

enum { MAXIMUM_BYTES = 4096 };

typedef unsigned __int128 exact;

static bool every_kind(uint32_t kind)
{
	return kind >= LAYER_CONVOLUTION && kind <= LAYER_LINEAR;
}

static void check_place(const struct stage_plan *plan)
{
	DEMAND(plan->pipeline_size >= 1 && plan->pipeline_stage < plan->pipeline_size);
	DEMAND(plan->first_layer < plan->end_layer && plan->end_layer <= plan->model.layer_count);
	DEMAND(plan->data_parallel_size >= 1 && plan->replica < plan->data_parallel_size);
	DEMAND(stage_plan_is_first(plan) == (plan->first_layer == 0));
	DEMAND(stage_plan_is_last(plan) == (plan->end_layer == plan->model.layer_count));
	DEMAND(plan->model.layers[plan->model.layer_count - 1].output.channels == plan->model.classes);
	DEMAND(stage_plan_image_bytes(plan) ==
	       (exact)plan->micro_batch_size * 3 * plan->raw_image_size * plan->raw_image_size);
}

// Instructions of a kind, each micro-batch at most once.
static uint32_t count_of(const struct stage_plan *plan, enum instruction_kind kind)
{
	static bool seen[SCHEDULE_MAXIMUM_MICRO_BATCHES];
	uint32_t count = 0;
	memset(seen, 0, plan->micro_batches);
	for (uint32_t i = 0; i < plan->schedule.count; i++) {
		struct instruction instruction = plan->schedule.instructions[i];
		if (instruction.kind != kind)
			continue;
		DEMAND(instruction.micro_batch < plan->micro_batches && !seen[instruction.micro_batch]);
		seen[instruction.micro_batch] = true;
		count++;
	}
	return count;
}

static void check_schedule(const struct stage_plan *plan)
{
	struct error error;
	uint32_t m = plan->micro_batches;
	bool first = stage_plan_is_first(plan), last = stage_plan_is_last(plan);
	DEMAND(schedule_check_stage(&plan->schedule, plan->pipeline_stage, plan->pipeline_size, m, &error));
	DEMAND(count_of(plan, INSTRUCTION_FORWARD) == m && count_of(plan, INSTRUCTION_BACKWARD) == m);
	DEMAND(count_of(plan, INSTRUCTION_LOAD_INPUT) == (first || last ? m : 0));
	DEMAND(count_of(plan, INSTRUCTION_RECV_ACTIVATION) == (first ? 0 : m));
	DEMAND(count_of(plan, INSTRUCTION_SEND_GRADIENT) == (first ? 0 : m));
	DEMAND(count_of(plan, INSTRUCTION_SEND_ACTIVATION) == (last ? 0 : m));
	DEMAND(count_of(plan, INSTRUCTION_RECV_GRADIENT) == (last ? 0 : m));
	DEMAND(plan->schedule.instructions[plan->schedule.count - 1].kind == INSTRUCTION_OPTIMIZER_STEP);
}

static void check_boundary(const struct stage_plan *plan, enum neighbour side)
{
	const struct tensor_shape *shape = &plan->boundary[side].shape;
	bool replicas = side == NEIGHBOUR_PREVIOUS_REPLICA || side == NEIGHBOUR_NEXT_REPLICA;
	exact bytes = data_type_bytes(shape->type);
	DEMAND(shape->rank == 1 || shape->rank == 2 || shape->rank == 4);
	for (uint32_t i = 0; i < shape->rank; i++)
		bytes *= shape->dimensions[i];
	DEMAND(bytes > 0 && bytes == shape->bytes);
	DEMAND(plan->boundary[side].tensors_per_step >= 1);
	if (!replicas)
		DEMAND(plan->boundary[side].receive_depth >= 1 &&
		       plan->boundary[side].receive_depth <= plan->micro_batches &&
		       plan->boundary[side].send_depth >= 1 && plan->boundary[side].send_depth <= plan->micro_batches);
	struct link_options link = {.incoming = {.shape = *shape,
						 .kind = plan->boundary[side].incoming,
						 .depth = plan->boundary[side].receive_depth,
						 .connections = 1,
						 .chunk_bytes = PROTOCOL_MINIMUM_CHUNK_BYTES,
						 .tensors_per_step = plan->boundary[side].tensors_per_step},
				    .local = plan->boundary[side].local,
				    .send_depth = plan->boundary[side].send_depth};
	exact place = (bytes + 63) / 64 * 64;
	DEMAND(link_bytes(&link) == bytes * link.send_depth + (link.local ? 0 : place * link.incoming.depth));
	if (replicas || plan->boundary[side].order == NULL)
		return;
	for (uint32_t i = 0; i < plan->micro_batches; i++)
		DEMAND(plan->boundary[side].order[i] < plan->micro_batches);
}

static void check_sums(const struct stage_plan *plan)
{
	struct batches_options batches = {
		.bytes = {[BATCH_IMAGES] = stage_plan_image_bytes(plan), [BATCH_LABELS] = plan->micro_batch_size},
		.micro_batches = plan->micro_batches,
		.steps = PROTOCOL_MAXIMUM_QUEUED_STEPS,
		.classes = plan->model.classes};
	exact least = ((exact)batches.bytes[BATCH_IMAGES] + batches.bytes[BATCH_LABELS]) * batches.micro_batches *
		      batches.steps;
	DEMAND(batches_bytes(&batches) >= least &&
	       batches_bytes(&batches) <= least + (exact)128 * batches.micro_batches * batches.steps);
	if (plan->ring.buckets == 0)
		return;
	DEMAND(plan->data_parallel_size > 1 && plan->ring.replicas == plan->data_parallel_size);
	DEMAND(plan->ring.floats == (exact)plan->ring.buckets * plan->ring.replicas * plan->ring.piece_floats);
	DEMAND(plan->ring.first + model_parameter_floats(&plan->model, plan->first_layer, plan->end_layer) <=
	       plan->ring.floats);
	DEMAND(reducer_bytes(plan) >= (exact)plan->ring.floats * sizeof(float));
}

// What a device is given of it.
static void check_program(const struct stage_plan *plan)
{
	struct program_spec spec;
	struct error error;
	stage_plan_program_spec(plan, &spec);
	DEMAND(program_spec_check(&spec, every_kind, &error));
	DEMAND(spec.micro_batches == (exact)plan->micro_batches * plan->data_parallel_size);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maximum, unsigned seed)
{
	return mutate_message(wire_stage_codec.type, data, size, maximum, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stage_plan plan;
	struct error error = {0};
	if (size > MAXIMUM_BYTES)
		return 0;
	struct arena *arena = arena_create();
	const ProtobufCMessage *message =
		protobuf_c_message_unpack(wire_stage_codec.type, &arena->allocator, size, data);
	struct stage_spec spec = {0};
	if (message == NULL) {
		arena_destroy(arena);
		return 0;
	}
	if (codec_read(&wire_stage_codec, message, &spec, arena, &error) && stage_plan_read(&spec, &plan, &error)) {
		arena_destroy(steal_pointer(arena)); // the plan borrows nothing of it
		check_place(&plan);
		check_schedule(&plan);
		for (enum neighbour side = 0; side < NEIGHBOUR_COUNT; side++)
			if (plan.boundary[side].exists)
				check_boundary(&plan, side);
		check_sums(&plan);
		check_program(&plan);
		stage_plan_fini(&plan);
	} else {
		DEMAND(error.code == ERROR_USAGE || error.code == ERROR_PROTOCOL);
	}
	arena_destroy(arena);
	return 0;
}
