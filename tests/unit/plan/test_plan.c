// The plan: its sums, what it puts on the wire, and its table.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/schedule/ring.h"
#include "coordinator/models/models.h"
#include "coordinator/plan/plan.h"

static struct plan_options options_of(const char *schedule, uint32_t p, uint32_t n, uint32_t m)
{
	return (struct plan_options){
		.partition_method = "flops",
		.schedule = schedule,
		.pipeline_size = p,
		.data_parallel_size = 1,
		.micro_batch_size = n,
		.micro_batches = m,
		.optimizer = {.kind = OPTIMIZER_ADAM, .weight_decay = 0.1f, .epsilon = 1e-8f},
		.gradient_clipping = true,
		.seed = 42,
		.raw_image_size = 32,
		.mean = {0.1f, 0.2f, 0.3f},
		.standard_deviation = {0.4f, 0.5f, 0.6f},
	};
}

static struct model alexnet(void)
{
	struct model model;
	struct error error = {0};
	assert_true(models_create_chain("alexnet", 64, 10, -1, &model, &error));
	return model;
}

static struct plan *create(const struct model *model, const struct plan_options *options)
{
	struct plan *plan = NULL;
	struct error error = {0};
	if (!plan_create(model, options, &plan, &error))
		fail_msg("%s", error.message);
	return plan;
}

static void create_stages_sum_to_the_model(void **state)
{
	struct model model = alexnet();
	for (uint32_t p = 1; p <= 8; p++) {
		struct plan_options options = options_of("1f1b", p, 4, 8);
		struct plan *plan = create(&model, &options);
		uint64_t parameters = 0, flops = 0, expected = 0;
		for (uint32_t i = 0; i < model.layer_count; i++)
			expected += layer_forward_flops(&model.layers[i]);
		uint32_t layer = 0;
		for (uint32_t s = 0; s < p; s++) {
			assert_int_equal(plan->stages[s].first_layer, layer);
			layer = plan->stages[s].end_layer;
			parameters += plan->stages[s].parameters;
			flops += plan->stages[s].flops;
		}
		assert_int_equal(layer, 22);
		assert_int_equal(parameters, 57044810); // torchvision.models.alexnet(num_classes=10)
		assert_int_equal(flops, 3 * expected - layer_forward_flops(&model.layers[0]));
		assert_true(fabs(plan->ideal_bubble - (p - 1.0) / (8 + p - 1.0)) < 1e-12);
		assert_true(plan->balance > 0 && plan->balance <= 1);
		plan_destroy(plan);
	}
}

// What rounding adds at most: 127 bytes a tensor and 4095 for each of three regions.
static uint64_t rounding(uint64_t tensors)
{
	return tensors * 127 + UINT64_C(3) * 4095;
}

static void assert_rounded(uint64_t bytes, uint64_t exact, uint64_t tensors)
{
	assert_in_range(bytes, exact, exact + rounding(tensors));
}

static void create_boundaries_and_memory_are_what_the_shapes_say(void **state)
{
	struct model model = alexnet();
	struct plan_options options = options_of("gpipe", 3, 5, 6);
	options.split = "3,14";
	struct plan *plan = create(&model, &options);
	// Images of 64: features.2 gives (64, 7, 7), avgpool (256, 6, 6).
	const struct plan_stage *stages = plan->stages;
	assert_int_equal(stages[0].input_bytes, 0);
	assert_int_equal(stages[0].output_bytes, 64 * 7 * 7 * 5 * 4);
	assert_int_equal(stages[1].input_bytes, stages[0].output_bytes);
	assert_int_equal(stages[1].output_bytes, 256 * 6 * 6 * 5 * 4);
	assert_int_equal(stages[2].input_bytes, stages[1].output_bytes);
	assert_int_equal(stages[2].output_bytes, 0);
	assert_int_equal(stages[0].parameters, 3 * 64 * 11 * 11 + 64);
	for (int s = 0; s < 3; s++) {
		assert_rounded(stages[s].parameter_bytes, stages[s].parameters * 4, 16);
		assert_int_equal(stages[s].gradient_bytes, stages[s].parameter_bytes);
		assert_int_equal(stages[s].optimizer_bytes, 2 * stages[s].parameter_bytes); // Adam
		assert_int_equal(stages[s].memory_bytes, stages[s].parameter_bytes + stages[s].gradient_bytes +
								 stages[s].optimizer_bytes + stages[s].stash_bytes +
								 stages[s].workspace_bytes + stages[s].exchange_bytes);
	}
	// Received: depth 4 of 6; sent: 6; per boundary. The images of 4 steps are queued.
	assert_int_equal(stages[0].exchange_bytes, stages[0].output_bytes * (4 + 6) + 4 * 6 * 5 * 3 * 32 * 32);
	assert_int_equal(stages[1].exchange_bytes, (stages[0].output_bytes + stages[1].output_bytes) * (4 + 6));
	plan_destroy(plan);
}

// A byte for each output of a pool and a dropout, whatever the type, says where a gradient goes.
static uint64_t places(const struct plan *plan, uint32_t s)
{
	uint64_t bytes = 0;
	for (uint32_t i = plan->stages[s].first_layer; i < plan->stages[s].end_layer; i++)
		if (plan->model.layers[i].kind == LAYER_MAX_POOL || plan->model.layers[i].kind == LAYER_DROPOUT)
			bytes += shape_count(plan->model.layers[i].output) * plan->options.micro_batch_size;
	return bytes * plan->schedule->stage[s].slots;
}

static void create_16_bits_halve_activations_and_add_a_copy_of_parameters(void **state)
{
	static const enum data_type types[] = {DATA_BFLOAT16, DATA_FLOAT16};
	struct model model = alexnet();
	struct plan_options options = options_of("1f1b", 2, 4, 8);
	options.device = PLAN_DEVICE_CUDA;
	struct plan *whole = create(&model, &options);
	for (int i = 0; i < 2; i++) {
		options.compute_type = options.boundary_type = types[i];
		options.initial_loss_scale = 65536;
		struct plan *half = create(&model, &options);
		for (int s = 0; s < 2; s++) {
			const struct plan_stage *a = &whole->stages[s], *b = &half->stages[s];
			assert_int_equal(b->parameter_bytes, a->parameters * (4 + 2));
			assert_int_equal(b->gradient_bytes, a->parameters * 4);
			assert_int_equal(b->optimizer_bytes, a->parameters * 2 * 4); // Adam
			assert_int_equal(2 * b->output_bytes, a->output_bytes);
			// The first stage's images get 8 channels instead of 3.
			uint64_t images =
				s == 0 ? (2 * (8 * 2) - 3 * 4) * 64 * 64 * 4 * half->schedule->stage[0].slots : 0;
			assert_int_equal(2 * (b->stash_bytes - places(half, s)),
					 a->stash_bytes - places(whole, s) + images);
			assert_int_equal(b->memory_bytes, b->parameter_bytes + b->gradient_bytes + b->optimizer_bytes +
								  b->stash_bytes + b->workspace_bytes);
		}
		plan_destroy(half);
	}
	// The boundary alone.
	options.compute_type = DATA_FLOAT32;
	struct plan *narrow = create(&model, &options);
	const uint64_t queued[2] = {4 * 8 * 4 * 3 * 32 * 32, 4 * 8 * 64}; // images, labels of 4 steps
	for (int s = 0; s < 2; s++) {
		assert_int_equal(narrow->stages[s].stash_bytes, whole->stages[s].stash_bytes);
		assert_int_equal(narrow->stages[s].parameter_bytes, whole->stages[s].parameter_bytes);
		assert_int_equal(2 * (narrow->stages[s].exchange_bytes - queued[s]),
				 whole->stages[s].exchange_bytes - queued[s]);
	}
	plan_destroy(narrow);
	plan_destroy(whole);
}

// On the CPU, which has a second copy of avgpool's input. AlexNet at 64, elements per sample, summed by hand: (64, 15, 15) after the first convolution, (64, 7, 7) after its pool,
// then (192, 7, 7), (192, 3, 3), (384, 3, 3), two of (256, 3, 3), (256, 1, 1), (256, 6, 6), 4096, 4096, 10.
static void create_checkpoints_keep_the_inputs_of_runs(void **state)
{
	enum { IMAGE = 3 * 64 * 64, C1 = 64 * 15 * 15, P1 = 64 * 7 * 7, C2 = 192 * 7 * 7, P2 = 192 * 3 * 3 };
	enum { C3 = 384 * 3 * 3, C4 = 256 * 3 * 3, P5 = 256, A = 256 * 6 * 6, L1 = 4096, L2 = 4096, L3 = 10 };
	static const struct {
		uint32_t interval;
		uint64_t kept, again;             // floats
		uint64_t kept_bytes, again_bytes; // where pools and dropouts took their elements
	} cases[] = {
		{0, IMAGE + C1 + P1 + C2 + P2 + C3 + C4 + C4 + 2 * P5 + A + L1 + L2 + L3, 0, P1 + P2 + P5 + A + L1, 0},
		{22, IMAGE, C1 + P1 + C2 + P2 + C3 + C4 + C4 + 2 * P5 + A + L1 + L2 + L3, 0, P1 + P2 + P5 + A + L1},
		{1000, IMAGE, C1 + P1 + C2 + P2 + C3 + C4 + C4 + 2 * P5 + A + L1 + L2 + L3, 0, P1 + P2 + P5 + A + L1},
		{3, IMAGE + P1 + P2 + C4 + C4 + A + L1 + L2, C1 + P1, 0, P1}, // a convolution, its ReLU and its pool
		{6, IMAGE + P2 + C4 + L1, C1 + P1 + C2 + P2, 0, P1 + P2},
	};
	struct model model = alexnet();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct plan_options options = options_of("gpipe", 1, 5, 7);
		options.checkpoint_interval = cases[i].interval;
		struct plan *plan = create(&model, &options);
		uint64_t expected = ((cases[i].kept * 4 + cases[i].kept_bytes) * plan->schedule->stage[0].slots +
				     cases[i].again * 4 + cases[i].again_bytes) *
				    5;
		if (plan->stages[0].stash_bytes < expected ||
		    plan->stages[0].stash_bytes > expected + rounding(22 * plan->schedule->stage[0].slots))
			fail_msg("interval %u: %lu, not %lu", cases[i].interval,
				 (unsigned long)plan->stages[0].stash_bytes, (unsigned long)expected);
		assert_int_equal(plan->options.checkpoint_interval, cases[i].interval < 22 ? cases[i].interval : 22);
		plan_destroy(plan);
	}
}

static void create_1f1b_keeps_fewer_activations_than_gpipe(void **state)
{
	struct model model = alexnet();
	struct plan_options gpipe = options_of("gpipe", 2, 4, 16), one = options_of("1f1b", 2, 4, 16);
	struct plan *a = create(&model, &gpipe), *b = create(&model, &one);
	for (int s = 0; s < 2; s++) { // 16 alive against 2 and 1
		uint64_t each = a->stages[s].stash_bytes / 16 * (s == 0 ? 2 : 1);
		assert_in_range(b->stages[s].stash_bytes, each - rounding(0), each + rounding(0));
	}
	plan_destroy(a);
	plan_destroy(b);
}

static void create_replicas_add_the_memory_of_their_sums(void **state)
{
	struct model model = alexnet();
	struct plan_options options = options_of("1f1b", 3, 4, 8);
	options.split = "1,2"; // the stage in the middle is a ReLU: it has no parameters, and nothing to sum
	struct plan *one = create(&model, &options);
	options.data_parallel_size = 3;
	options.reduce_bucket_bytes = 12 << 10;
	struct plan *three = create(&model, &options);
	for (int s = 0; s < 3; s++) {
		const struct plan_stage *a = &one->stages[s], *b = &three->stages[s];
		uint64_t sums = 0;
		if (a->parameters > 0) {
			struct ring ring =
				ring_make(model_parameter_floats(&one->model, a->end_layer, one->model.layer_count),
					  a->parameters, model_parameter_floats(&one->model, 0, one->model.layer_count),
					  3, 12 << 10);
			sums = ring_bytes(&ring);
			assert_true(sums >= a->parameters * 4);
		}
		assert_int_equal(a->parameters > 0, s != 1);
		assert_int_equal(b->exchange_bytes, a->exchange_bytes + sums);
		assert_int_equal(b->memory_bytes, a->memory_bytes + sums);
	}
	plan_destroy(one);
	plan_destroy(three);
}

static void create_replicas_are_limited(void **state)
{
	static const struct {
		uint32_t stages, replicas, micro_batches;
		const char *words; // NULL: taken
	} cases[] = {
		{1, 0, 8, "0 replicas: the number must be from 1 to 256"},
		{1, 256, 8, NULL},
		{1, 16, 4096, NULL},
		{1, 17, 4096, "4096 micro-batches x 17 replicas: a step has at most 65536 micro-batches"},
		{1, 257, 8, "257 replicas: the number must be from 1 to 256"},
		{4, 256, 8, NULL},
		{5, 205, 8, "5 stages x 205 replicas: a job runs on at most 1024 devices"},
	};
	struct model model = alexnet();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct plan_options options = options_of("1f1b", cases[i].stages, 4, cases[i].micro_batches);
		struct plan *plan = NULL;
		struct error error = {0};
		options.data_parallel_size = cases[i].replicas;
		bool ok = plan_create(&model, &options, &plan, &error);
		assert_int_equal(ok, cases[i].words == NULL);
		if (!ok)
			assert_string_equal(error.message, cases[i].words);
		plan_destroy(plan);
	}
}

// As deepspeed.runtime.pipe.topology.PipeDataParallelTopology(num_pp=3, num_dp=4): get_rank(pipe=1, data=2) is 6.
static void rank_replicas_of_a_stage_are_neighbours(void **state)
{
	struct model model = alexnet();
	struct plan_options options = options_of("1f1b", 3, 4, 8);
	options.data_parallel_size = 4;
	struct plan *plan = create(&model, &options);
	assert_int_equal(plan_rank_count(plan), 12);
	assert_int_equal(plan_rank(plan, 1, 2), 6);
	for (uint32_t rank = 0; rank < 12; rank++) {
		assert_int_equal(plan_rank_stage(plan, rank), rank / 4);
		assert_int_equal(plan_rank_replica(plan, rank), rank % 4);
		assert_int_equal(plan_rank(plan, plan_rank_stage(plan, rank), plan_rank_replica(plan, rank)), rank);
	}
	plan_destroy(plan);
}

static void create_strings_are_copied(void **state)
{
	struct model model = alexnet();
	char method[] = "uniform", schedule[] = "gpipe";
	struct plan_options options = options_of(schedule, 2, 4, 2);
	options.partition_method = method;
	struct plan *plan = create(&model, &options);
	memset(method, 'x', 3);
	memset(schedule, 'x', 3);
	assert_string_equal(plan->options.partition_method, "uniform");
	assert_string_equal(plan->options.schedule, "gpipe");
	plan_destroy(plan);
	plan_destroy(NULL);
}

static void create_bad_options_are_refused(void **state)
{
	struct model model = alexnet();
	const struct plan_options good = options_of("1f1b", 2, 4, 4);
	struct plan_options bad[9];
	for (int i = 0; i < 9; i++)
		bad[i] = good;
	bad[0].schedule = "2f2b";
	bad[1].partition_method = "guess";
	bad[2].split = "30";
	bad[3].pipeline_size = 23;
	bad[4].micro_batch_size = 0;
	bad[5].micro_batch_size = MODEL_MAXIMUM_MICRO_BATCH_SIZE + 1;
	bad[6].micro_batches = 0;
	bad[7].raw_image_size = 0;
	bad[8].compute_type = DATA_FLOAT16; // without a loss scale
	for (int i = 0; i < 9; i++) {
		struct plan *plan = NULL;
		struct error error = {0};
		assert_false(plan_create(&model, &bad[i], &plan, &error));
		assert_null(plan);
		assert_int_equal(error.code, ERROR_USAGE);
		assert_true(strlen(error.message) > 10);
	}
}

static void stage_spec_holds_what_the_daemon_needs(void **state)
{
	struct model model = alexnet();
	struct plan_options options = options_of("1f1b", 3, 4, 8);
	struct plan *plan = create(&model, &options);
	for (uint32_t s = 0; s < 3; s++) {
		struct stage_spec spec;
		plan_stage_spec(plan, 0, s, &(struct plan_place){.device = s % 2}, &spec);
		assert_int_equal(spec.pipeline_stage, s);
		assert_int_equal(spec.pipeline_size, 3);
		assert_int_equal(spec.data_parallel_size, 1);
		assert_int_equal(spec.device_index, s % 2);
		assert_int_equal(spec.first_layer, plan->stages[s].first_layer);
		assert_int_equal(spec.end_layer, plan->stages[s].end_layer);
		assert_int_equal(spec.schedule.slots, 3 - s);
		assert_int_equal(spec.seed, 42);
		assert_true(spec.gradient_clipping);
		assert_true(spec.mean[2] == 0.3f && spec.standard_deviation[0] == 0.4f);
		assert_int_equal(spec.optimizer.kind, OPTIMIZER_ADAM);
		assert_true(spec.optimizer.weight_decay == 0.1f);
		// Depths: unread on this side at most its slots; on their way at most what the stage before
		// the boundary keeps.
		assert_int_equal(spec.receive_depth_from_previous, s == 0 ? 0 : 3 - s);
		assert_int_equal(spec.send_depth_to_previous, s == 0 ? 0 : 3 - (s - 1));
		assert_int_equal(spec.receive_depth_from_next, s == 2 ? 0 : 3 - s);
		assert_int_equal(spec.send_depth_to_next, s == 2 ? 0 : 3 - s);
		assert_int_equal(spec.schedule.count, plan->schedule->stage[s].count);
		for (uint32_t i = 0; i < spec.schedule.count; i++) {
			assert_int_equal(spec.schedule.instructions[i].kind,
					 plan->schedule->stage[s].instructions[i].kind);
			assert_int_equal(spec.schedule.instructions[i].micro_batch,
					 plan->schedule->stage[s].instructions[i].micro_batch);
		}
	}
	plan_destroy(plan);
}

static void stage_spec_tells_replicas_apart(void **state)
{
	struct model model = alexnet();
	struct plan_options options = options_of("1f1b", 2, 4, 8);
	options.data_parallel_size = 3;
	options.reduce_bucket_bytes = 5 << 20;
	struct plan *plan = create(&model, &options);
	for (uint32_t r = 0; r < 3; r++) {
		struct plan_place place = {.previous_replica_is_local = r == 0, .next_replica_is_local = r == 1};
		struct stage_spec spec;
		plan_stage_spec(plan, r, 1, &place, &spec);
		assert_int_equal(spec.replica, r);
		assert_int_equal(spec.data_parallel_size, 3);
		assert_int_equal(spec.pipeline_stage, 1);
		assert_int_equal(spec.pipeline_size, 2);
		assert_int_equal(spec.micro_batches, 8); // of each replica
		assert_int_equal(spec.reduce_bucket_bytes, 5 << 20);
		assert_int_equal(spec.previous_replica_is_local, r == 0);
		assert_int_equal(spec.next_replica_is_local, r == 1);
		assert_int_equal(spec.schedule.count, plan->schedule->stage[1].count);
	}
	plan_destroy(plan);
}

static void stage_spec_carries_types_and_checkpoints(void **state)
{
	struct model model = alexnet();
	struct plan_options options = options_of("1f1b", 2, 4, 8);
	struct plan *plan = create(&model, &options);
	struct stage_spec spec;
	plan_stage_spec(plan, 0, 1, &(struct plan_place){.device = 3}, &spec);
	assert_int_equal(spec.device_index, 3);
	assert_int_equal(spec.compute_type, DATA_FLOAT32);
	assert_int_equal(spec.boundary_type, DATA_FLOAT32);
	assert_false(spec.allow_tf32 || spec.loss_scaling);
	assert_int_equal(spec.checkpoint_interval, 0);
	plan_destroy(plan);
	options.compute_type = DATA_FLOAT16;
	options.boundary_type = DATA_BFLOAT16;
	options.initial_loss_scale = 1024;
	options.allow_tf32 = true;
	options.checkpoint_interval = 5;
	plan = create(&model, &options);
	plan_stage_spec(plan, 0, 0, &(struct plan_place){.device = 0}, &spec);
	assert_int_equal(spec.compute_type, DATA_FLOAT16);
	assert_int_equal(spec.boundary_type, DATA_BFLOAT16);
	assert_true(spec.allow_tf32 && spec.loss_scaling && spec.initial_loss_scale == 1024);
	assert_int_equal(spec.checkpoint_interval, 5);
	plan_destroy(plan);
}

static void assert_fits_80_columns(const char *text)
{
	for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\n") > 80)
			fail_msg("a line is longer than 80 columns in:\n%s", text);
}

static void assert_prints(const struct plan_options *options, const char *expected)
{
	struct model model = alexnet();
	struct plan *plan = create(&model, options);
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	plan_print(plan, out);
	fclose(out);
	if (strstr(text, expected) == NULL)
		fail_msg("\"%s\" is not in:\n%s", expected, text);
	assert_fits_80_columns(text);
	free(text);
	plan_destroy(plan);
}

static void print_says_what_is_computed_in(void **state)
{
	struct plan_options options = options_of("1f1b", 3, 4, 8);
	assert_prints(&options, "computed in float32, sent in float32\n");
	options.allow_tf32 = true;
	options.boundary_type = DATA_BFLOAT16;
	options.checkpoint_interval = 4;
	assert_prints(
		&options,
		"computed in float32 with products in TF32, sent in bfloat16, activations kept\nevery 4 layers\n");
	options.checkpoint_interval = 1;
	options.in_flight = 1;
	assert_prints(&options, " kept\nevery 1 layer, at most 1 in flight\n");
	options = options_of("1f1b", 3, 4, 8);
	options.compute_type = options.boundary_type = DATA_FLOAT16;
	options.initial_loss_scale = 65536;
	assert_prints(&options, "computed in float16, sent in float16, loss scale 65536 at first\n");
}

static void print_says_how_many_replicas_there_are(void **state)
{
	struct plan_options options = options_of("1f1b", 3, 4, 8);
	assert_prints(&options, "\n1 replica: 32 samples per step\n");
	options.data_parallel_size = 4;
	options.reduce_bucket_bytes = 25 << 20;
	assert_prints(&options,
		      "\n4 replicas, 12 devices: 128 samples per step;\ngradients are summed 25.0 MiB at once\n");
}

static void print_names_every_stage(void **state)
{
	struct model model = alexnet();
	struct plan_options options = options_of("1f1b", 3, 4, 8);
	options.split = "3,14";
	struct plan *plan = create(&model, &options);
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	plan_print(plan, out);
	fclose(out);
	static const char *const expected[] = {
		"alexnet",  "1f1b", "features.0 .. features.2", "features.3 .. avgpool", "flatten .. classifier.6",
		"57044810", "20.0%"};
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		if (strstr(text, expected[i]) == NULL)
			fail_msg("\"%s\" is not in:\n%s", expected[i], text);
	free(text);
	plan_destroy(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_stages_sum_to_the_model),
		cmocka_unit_test(create_boundaries_and_memory_are_what_the_shapes_say),
		cmocka_unit_test(create_16_bits_halve_activations_and_add_a_copy_of_parameters),
		cmocka_unit_test(create_checkpoints_keep_the_inputs_of_runs),
		cmocka_unit_test(create_1f1b_keeps_fewer_activations_than_gpipe),
		cmocka_unit_test(create_replicas_add_the_memory_of_their_sums),
		cmocka_unit_test(create_replicas_are_limited),
		cmocka_unit_test(rank_replicas_of_a_stage_are_neighbours),
		cmocka_unit_test(create_strings_are_copied),
		cmocka_unit_test(create_bad_options_are_refused),
		cmocka_unit_test(stage_spec_holds_what_the_daemon_needs),
		cmocka_unit_test(stage_spec_tells_replicas_apart),
		cmocka_unit_test(stage_spec_carries_types_and_checkpoints),
		cmocka_unit_test(print_says_what_is_computed_in),
		cmocka_unit_test(print_says_how_many_replicas_there_are),
		cmocka_unit_test(print_names_every_stage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
