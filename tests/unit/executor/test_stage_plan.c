// A plan from the wire: what a coordinator writes is taken, and every damaged field is named.
#include "tests/unit/cmocka_all.h"

#include <math.h>
#include <string.h>

#include "coordinator/plan/plan.h"
#include "stage_server/executor/stage_plan.h"

static Penstock__V1__StagePlan *message_of(uint32_t stage, uint32_t stages)
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
	assert_true(model_create("alexnet", 64, 10, 0.25f, &model, &error));
	assert_true(plan_create(&model, &options, &plan, &error));
	Penstock__V1__StagePlan *message = plan_stage_message(plan, 0, stage, &(struct plan_place){0});
	plan_destroy(plan);
	assert_non_null(message);
	return message;
}

static void stage_plan_read_what_a_coordinator_writes(void **state)
{
	for (uint32_t stage = 0; stage < 3; stage++) {
		struct stage_plan plan;
		struct error error;
		Penstock__V1__StagePlan *message = message_of(stage, 3);
		if (!stage_plan_read(message, &plan, &error))
			fail_msg("%s", error.message);
		assert_int_equal(plan.pipeline_stage, stage);
		assert_int_equal(plan.seed, 99);
		assert_true(plan.optimizer.nesterov);
		assert_int_equal(plan.boundary[NEIGHBOUR_PREVIOUS].exists, stage > 0);
		assert_int_equal(plan.boundary[NEIGHBOUR_NEXT].exists, stage < 2);
		stage_plan_fini(&plan);
		plan_free_message(message);
	}
}

static void stage_plan_read_replicas_are_a_ring(void **state)
{
	struct stage_plan plan;
	struct error error;
	Penstock__V1__StagePlan *message = message_of(1, 2);
	message->data_parallel_size = 3;
	message->replica = 2;
	message->reduce_bucket_bytes = 1 << 20;
	message->next_replica_is_local = true;
	if (!stage_plan_read(message, &plan, &error))
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
	plan_free_message(message);
}

static void stage_plan_read_replicas_in_a_group_have_no_ring(void **state)
{
	struct stage_plan plan;
	struct error error;
	Penstock__V1__StagePlan *message = message_of(1, 2);
	message->data_parallel_size = 3;
	message->reduce_in_group = true;
	if (!stage_plan_read(message, &plan, &error))
		fail_msg("%s", error.message);
	assert_true(plan.reduce_in_group && plan.ring.buckets == 0);
	assert_false(plan.boundary[NEIGHBOUR_PREVIOUS_REPLICA].exists || plan.boundary[NEIGHBOUR_NEXT_REPLICA].exists);
	struct program_spec spec;
	stage_plan_program_spec(&plan, &spec);
	assert_true(spec.group && !spec.replicas && spec.micro_batches == 3 * plan.micro_batches);
	stage_plan_fini(&plan);
	message->data_parallel_size = 1; // nothing to sum
	assert_true(stage_plan_read(message, &plan, &error) && !plan.reduce_in_group);
	stage_plan_fini(&plan);
	plan_free_message(message);
}

static void stage_plan_read_boundary_has_the_tensor_that_crosses(void **state)
{
	struct stage_plan first, second;
	struct error error;
	Penstock__V1__StagePlan *a = message_of(0, 2), *b = message_of(1, 2);
	assert_true(stage_plan_read(a, &first, &error) && stage_plan_read(b, &second, &error));
	const struct tensor_shape *out = &first.boundary[NEIGHBOUR_NEXT].shape;
	const struct tensor_shape *in = &second.boundary[NEIGHBOUR_PREVIOUS].shape;
	assert_memory_equal(out, in, sizeof(*out));
	assert_int_equal(out->dimensions[0], 4);
	stage_plan_fini(&first);
	stage_plan_fini(&second);
	plan_free_message(a);
	plan_free_message(b);
}

// One damage for each field that a daemon would trip over.
static void no_model(Penstock__V1__StagePlan *m)
{
	penstock__v1__model__free_unpacked(m->model, NULL);
	m->model = NULL;
}
static void no_layers(Penstock__V1__StagePlan *m)
{
	m->model->n_layers = 0;
}
static void too_many_classes(Penstock__V1__StagePlan *m)
{
	m->model->classes = 257;
}
static void other_classes(Penstock__V1__StagePlan *m)
{
	m->model->classes = 11;
}
static void unknown_layer(Penstock__V1__StagePlan *m)
{
	m->model->layers[3]->kind = 99;
}
static void huge_kernel(Penstock__V1__StagePlan *m)
{
	m->model->layers[0]->kernel_size = UINT32_MAX;
}
static void no_stride(Penstock__V1__StagePlan *m)
{
	m->model->layers[0]->stride = 0;
}
static void bad_probability(Penstock__V1__StagePlan *m)
{
	m->model->layers[15]->probability = NAN;
}
static void stage_beyond(Penstock__V1__StagePlan *m)
{
	m->pipeline_stage = 3;
}
static void no_stages(Penstock__V1__StagePlan *m)
{
	m->pipeline_size = 0;
}
static void layers_beyond(Penstock__V1__StagePlan *m)
{
	m->end_layer = 1000;
}
static void layers_backwards(Penstock__V1__StagePlan *m)
{
	m->first_layer = m->end_layer;
}
static void no_micro_batches(Penstock__V1__StagePlan *m)
{
	m->micro_batches = 0;
}
static void huge_micro_batch(Penstock__V1__StagePlan *m)
{
	m->micro_batch_size = UINT32_MAX;
}
static void huge_images(Penstock__V1__StagePlan *m)
{
	m->raw_image_size = 1024;
}
static void no_slots(Penstock__V1__StagePlan *m)
{
	m->slots = 0;
}
static void many_slots(Penstock__V1__StagePlan *m)
{
	m->slots = 7;
}
static void no_instructions(Penstock__V1__StagePlan *m)
{
	m->n_instructions = 0;
}
static void other_micro_batch(Penstock__V1__StagePlan *m)
{
	m->instructions[2]->micro_batch = 77;
}
static void split_backward(Penstock__V1__StagePlan *m)
{
	m->instructions[m->n_instructions - 4]->kind = PENSTOCK__V1__INSTRUCTION_KIND__INSTRUCTION_KIND_BACKWARD_INPUT;
}
static void no_optimizer(Penstock__V1__StagePlan *m)
{
	penstock__v1__optimizer__free_unpacked(m->optimizer, NULL);
	m->optimizer = NULL;
}
static void infinite_decay(Penstock__V1__StagePlan *m)
{
	m->optimizer->weight_decay = INFINITY;
}
static void negative_decay(Penstock__V1__StagePlan *m)
{
	m->optimizer->weight_decay = -1;
}
static void no_epsilon(Penstock__V1__StagePlan *m)
{
	m->optimizer->epsilon = NAN;
}
static void no_dampening(Penstock__V1__StagePlan *m)
{
	m->optimizer->dampening = NAN;
}
static void no_loss_scale(Penstock__V1__StagePlan *m)
{
	m->loss_scaling = true;
	m->initial_loss_scale = NAN;
}
static void infinite_deviation(Penstock__V1__StagePlan *m)
{
	m->standard_deviation[2] = INFINITY;
}
static void no_deviation(Penstock__V1__StagePlan *m)
{
	m->standard_deviation[1] = 0;
}
static void two_means(Penstock__V1__StagePlan *m)
{
	m->n_mean = 2;
}
static void no_receive_depth(Penstock__V1__StagePlan *m)
{
	m->receive_depth_from_previous = 0;
}
static void huge_send_depth(Penstock__V1__StagePlan *m)
{
	m->send_depth_to_next = 1000000;
}
static void no_replicas(Penstock__V1__StagePlan *m)
{
	m->data_parallel_size = 0;
}
static void many_replicas(Penstock__V1__StagePlan *m)
{
	m->data_parallel_size = 100000;
}
static void replica_beyond(Penstock__V1__StagePlan *m)
{
	m->replica = 1;
}
static void no_bucket(Penstock__V1__StagePlan *m)
{
	m->data_parallel_size = 2;
	m->reduce_bucket_bytes = 0;
}
static void huge_bucket(Penstock__V1__StagePlan *m)
{
	m->data_parallel_size = 2;
	m->reduce_bucket_bytes = UINT64_MAX;
}

static void stage_plan_read_damaged_field_is_named(void **state)
{
	static const struct {
		void (*damage)(Penstock__V1__StagePlan *message);
		const char *why;
	} cases[] = {
		{no_model, "no model"},
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
		{no_optimizer, "no optimizer"},
		{infinite_decay, "weight_decay is inf"},
		{negative_decay, "weight_decay is -1"},
		{no_epsilon, "epsilon is nan"},
		{no_dampening, "dampening is nan"},
		{no_loss_scale, "initial_loss_scale is nan"},
		{infinite_deviation, "channel 2"},
		{no_deviation, "channel 1"},
		{two_means, "three channels"},
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
		Penstock__V1__StagePlan *message = message_of(1, 3);
		size_t layers = message->model->n_layers, instructions = message->n_instructions;
		cases[i].damage(message);
		if (stage_plan_read(message, &plan, &error))
			fail_msg("case %zu (%s) was taken", i, cases[i].why);
		if (strstr(error.message, cases[i].why) == NULL)
			fail_msg("case %zu: \"%s\" does not say \"%s\"", i, error.message, cases[i].why);
		message->n_instructions = instructions; // so that all of it is freed
		message->n_mean = 3;
		if (message->model != NULL)
			message->model->n_layers = layers;
		plan_free_message(message);
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
