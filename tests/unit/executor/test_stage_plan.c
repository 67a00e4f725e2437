// A stage's plan: what a coordinator's plan says is taken, and every damaged field is named. What the wire refuses: tests/unit/wire.
#include "tests/unit/cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/plan/plan.h"
#include "coordinator/models/models.h"
#include "stage_server/executor/stage_plan.h"

// What a coordinator says of a stage, and what that borrows.
struct given {
	struct stage_spec spec;
	struct model model;
	struct instruction instructions[64];
};

static struct given *given_of(uint32_t stage, uint32_t stages)
{
	struct model model;
	struct plan *plan = NULL;
	struct error error;
	struct plan_options options = {
		.partition_method = "flops",
		.schedule = "1f1b",
		.pipeline_size = stages,
		.data_parallel_size = 1,
		.micro_batch_size = 4,
		.micro_batches = 6,
		.optimizer = {.kind = OPTIMIZER_SGD, .nesterov = true},
		.seed = 99,
		.raw_image_size = 32,
		.mean = {0.5f, 0.5f, 0.5f},
		.standard_deviation = {1, 1, 1},
	};
	assert_true(models_create_chain("alexnet", 64, 10, 0.25f, &model, &error));
	assert_true(plan_create(&model, &options, &plan, &error));
	struct given *given = calloc(1, sizeof(*given));
	plan_stage_spec(plan, 0, stage, &(struct plan_place){0}, &given->spec);
	assert_in_range(given->spec.schedule.count, 1, 64);
	given->model = *given->spec.model;
	memcpy(given->instructions, given->spec.schedule.instructions,
	       given->spec.schedule.count * sizeof(struct instruction));
	given->spec.model = &given->model;
	given->spec.schedule.instructions = given->instructions;
	plan_destroy(plan);
	return given;
}

static void stage_plan_read_what_a_coordinator_writes(void **state)
{
	for (uint32_t stage = 0; stage < 3; stage++) {
		struct stage_plan plan;
		struct error error;
		struct given *given = given_of(stage, 3);
		if (!stage_plan_read(&given->spec, &plan, &error))
			fail_msg("%s", error.message);
		assert_int_equal(plan.pipeline_stage, stage);
		assert_int_equal(plan.seed, 99);
		assert_true(plan.optimizer.nesterov);
		assert_int_equal(plan.boundary[NEIGHBOUR_PREVIOUS].exists, stage > 0);
		assert_int_equal(plan.boundary[NEIGHBOUR_NEXT].exists, stage < 2);
		stage_plan_fini(&plan);
		free(given);
	}
}

static void stage_plan_read_replicas_are_a_ring(void **state)
{
	struct stage_plan plan;
	struct error error;
	struct given *given = given_of(1, 2);
	given->spec.data_parallel_size = 3;
	given->spec.replica = 2;
	given->spec.reduce_bucket_bytes = 1 << 20;
	given->spec.next_replica_is_local = true;
	if (!stage_plan_read(&given->spec, &plan, &error))
		fail_msg("%s", error.message);
	assert_true(plan.boundary[NEIGHBOUR_PREVIOUS_REPLICA].exists && plan.boundary[NEIGHBOUR_NEXT_REPLICA].exists);
	assert_false(plan.boundary[NEIGHBOUR_PREVIOUS_REPLICA].local);
	assert_true(plan.boundary[NEIGHBOUR_NEXT_REPLICA].local);
	assert_int_equal(stage_plan_peer_replica(&plan, NEIGHBOUR_PREVIOUS_REPLICA), 1);
	assert_int_equal(stage_plan_peer_replica(&plan, NEIGHBOUR_NEXT_REPLICA), 0);
	assert_int_equal(stage_plan_peer_stage(&plan, NEIGHBOUR_NEXT_REPLICA), 1);
	assert_int_equal(stage_plan_peer_stage(&plan, NEIGHBOUR_PREVIOUS), 0);
	assert_int_equal(stage_plan_peer_replica(&plan, NEIGHBOUR_PREVIOUS), 2);
	struct program_spec spec;
	stage_plan_program_spec(&plan, &spec);
	assert_int_equal(spec.micro_batches,
			 3 * plan.micro_batches); // of all replicas: so their gradients' sum is the mean
	stage_plan_fini(&plan);
	free(given);
}

static void stage_plan_read_replicas_in_a_group_have_no_ring(void **state)
{
	struct stage_plan plan;
	struct error error;
	struct given *given = given_of(1, 2);
	given->spec.data_parallel_size = 3;
	given->spec.reduce_in_group = true;
	if (!stage_plan_read(&given->spec, &plan, &error))
		fail_msg("%s", error.message);
	assert_true(plan.reduce_in_group && plan.ring.buckets == 0);
	assert_false(plan.boundary[NEIGHBOUR_PREVIOUS_REPLICA].exists || plan.boundary[NEIGHBOUR_NEXT_REPLICA].exists);
	struct program_spec spec;
	stage_plan_program_spec(&plan, &spec);
	assert_true(spec.group && !spec.replicas && spec.micro_batches == 3 * plan.micro_batches);
	stage_plan_fini(&plan);
	given->spec.data_parallel_size = 1; // nothing to sum
	assert_true(stage_plan_read(&given->spec, &plan, &error) && !plan.reduce_in_group);
	stage_plan_fini(&plan);
	free(given);
}

static void stage_plan_read_boundary_has_the_tensor_that_crosses(void **state)
{
	struct stage_plan first, second;
	struct error error;
	struct given *a = given_of(0, 2), *b = given_of(1, 2);
	assert_true(stage_plan_read(&a->spec, &first, &error) && stage_plan_read(&b->spec, &second, &error));
	const struct tensor_shape *out = &first.boundary[NEIGHBOUR_NEXT].shape;
	const struct tensor_shape *in = &second.boundary[NEIGHBOUR_PREVIOUS].shape;
	assert_memory_equal(out, in, sizeof(*out));
	assert_int_equal(out->dimensions[0], 4);
	stage_plan_fini(&first);
	stage_plan_fini(&second);
	free(a);
	free(b);
}

// One damage for each field that a daemon would trip over.
static void no_layers(struct given *g)
{
	g->model.layer_count = 0;
}
static void too_many_classes(struct given *g)
{
	g->model.classes = 257;
}
static void other_classes(struct given *g)
{
	g->model.classes = 11;
}
static void unknown_layer(struct given *g)
{
	g->model.layers[3].kind = 99;
}
static void huge_kernel(struct given *g)
{
	g->model.layers[0].kernel_size = UINT32_MAX;
}
static void no_stride(struct given *g)
{
	g->model.layers[0].stride = 0;
}
static void bad_probability(struct given *g)
{
	g->model.layers[15].probability = NAN;
}
static void stage_beyond(struct given *g)
{
	g->spec.pipeline_stage = 3;
}
static void no_stages(struct given *g)
{
	g->spec.pipeline_size = 0;
}
static void layers_beyond(struct given *g)
{
	g->spec.end_layer = 1000;
}
static void layers_backwards(struct given *g)
{
	g->spec.first_layer = g->spec.end_layer;
}
static void no_micro_batches(struct given *g)
{
	g->spec.micro_batches = 0;
}
static void huge_micro_batch(struct given *g)
{
	g->spec.micro_batch_size = UINT32_MAX;
}
static void huge_images(struct given *g)
{
	g->spec.raw_image_size = 1024;
}
static void no_slots(struct given *g)
{
	g->spec.schedule.slots = 0;
}
static void many_slots(struct given *g)
{
	g->spec.schedule.slots = 7;
}
static void no_instructions(struct given *g)
{
	g->spec.schedule.count = 0;
}
static void other_micro_batch(struct given *g)
{
	g->instructions[2].micro_batch = 77;
}
static void split_backward(struct given *g)
{
	g->instructions[g->spec.schedule.count - 4].kind = INSTRUCTION_BACKWARD_INPUT;
}
static void infinite_decay(struct given *g)
{
	g->spec.optimizer.weight_decay = INFINITY;
}
static void negative_decay(struct given *g)
{
	g->spec.optimizer.weight_decay = -1;
}
static void no_epsilon(struct given *g)
{
	g->spec.optimizer.epsilon = NAN;
}
static void no_dampening(struct given *g)
{
	g->spec.optimizer.dampening = NAN;
}
static void no_loss_scale(struct given *g)
{
	g->spec.loss_scaling = true;
	g->spec.initial_loss_scale = NAN;
}
static void infinite_deviation(struct given *g)
{
	g->spec.standard_deviation[2] = INFINITY;
}
static void no_deviation(struct given *g)
{
	g->spec.standard_deviation[1] = 0;
}
static void no_receive_depth(struct given *g)
{
	g->spec.receive_depth_from_previous = 0;
}
static void huge_send_depth(struct given *g)
{
	g->spec.send_depth_to_next = 1000000;
}
static void no_replicas(struct given *g)
{
	g->spec.data_parallel_size = 0;
}
static void many_replicas(struct given *g)
{
	g->spec.data_parallel_size = 100000;
}
static void replica_beyond(struct given *g)
{
	g->spec.replica = 1;
}
static void no_bucket(struct given *g)
{
	g->spec.data_parallel_size = 2;
	g->spec.reduce_bucket_bytes = 0;
}
static void huge_bucket(struct given *g)
{
	g->spec.data_parallel_size = 2;
	g->spec.reduce_bucket_bytes = UINT64_MAX;
}

static void stage_plan_read_damaged_field_is_named(void **state)
{
	static const struct {
		void (*damage)(struct given *given);
		const char *why;
	} cases[] = {
		{no_layers, "number of layers"},
		{too_many_classes, "number of classes"},
		{other_classes, "one score per class"},
		{unknown_layer, "layer"},
		{huge_kernel, "kernel"},
		{no_stride, "stride"},
		{bad_probability, "probability"},
		{stage_beyond, "pipeline_stage"},
		{no_stages, "pipeline_size"},
		{layers_beyond, "end_layer"},
		{layers_backwards, "first_layer"},
		{no_micro_batches, "micro_batches"},
		{huge_micro_batch, "micro_batch_size"},
		{huge_images, "bytes, the limit"},
		{no_slots, "slots"},
		{many_slots, "slots"},
		{no_instructions, "instructions"},
		{other_micro_batch, "micro-batch"},
		{split_backward, "splits"},
		{infinite_decay, "weight_decay is inf"},
		{negative_decay, "weight_decay is -1"},
		{no_epsilon, "epsilon is nan"},
		{no_dampening, "dampening is nan"},
		{no_loss_scale, "initial_loss_scale is nan"},
		{infinite_deviation, "channel 2"},
		{no_deviation, "channel 1"},
		{no_receive_depth, "receive_depth_from_previous"},
		{huge_send_depth, "send_depth_to_next"},
		{no_replicas, "data_parallel_size"},
		{many_replicas, "data_parallel_size"},
		{replica_beyond, "replica"},
		{no_bucket, "reduce_bucket_bytes"},
		{huge_bucket, "reduce_bucket_bytes"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stage_plan plan;
		struct error error;
		struct given *given = given_of(1, 3);
		cases[i].damage(given);
		if (stage_plan_read(&given->spec, &plan, &error))
			fail_msg("case %zu (%s) was taken", i, cases[i].why);
		if (strstr(error.message, cases[i].why) == NULL)
			fail_msg("case %zu: \"%s\" does not say \"%s\"", i, error.message, cases[i].why);
		free(given);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stage_plan_read_what_a_coordinator_writes),
		cmocka_unit_test(stage_plan_read_replicas_are_a_ring),
		cmocka_unit_test(stage_plan_read_replicas_in_a_group_have_no_ring),
		cmocka_unit_test(stage_plan_read_boundary_has_the_tensor_that_crosses),
		cmocka_unit_test(stage_plan_read_damaged_field_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
