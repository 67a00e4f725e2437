// Where models are cut: DeepSpeed's own cuts, the smallest largest stage against trying all cuts, and bad
// requests.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/schedule/schedule.h"
#include "coordinator/plan/partition.h"
#include "coordinator/models/models.h"
#include "tests/unit/plan/deepspeed_cuts.h"

static const char *const names[] = {"alexnet", "vgg11", "vgg13", "vgg16", "vgg19"};

static struct model create(const char *name, uint32_t image_size)
{
	struct model model;
	struct error error = {0};
	assert_true(models_create_chain(name, image_size, 10, -1, &model, &error));
	return model;
}

static void cut(const struct model *model, const char *method, uint32_t stages, uint32_t *bounds)
{
	struct error error = {0};
	if (!partition_by_method(model, method, stages, NULL, bounds, &error))
		fail_msg("%s into %u by %s: %s", model->name, stages, method, error.message);
}

static void by_method_three_of_deepspeeds_cuts_where_deepspeed_does(void **state)
{
	for (size_t row = 0; row < sizeof(deepspeed_cuts) / sizeof(deepspeed_cuts[0]); row++) {
		struct model model = create(deepspeed_cuts[row].model, 224);
		uint32_t bounds[MODEL_MAXIMUM_LAYERS + 1], stages = deepspeed_cuts[row].stages;
		cut(&model, deepspeed_cuts[row].method, stages, bounds);
		for (uint32_t s = 0; s <= stages; s++)
			if (bounds[s] != deepspeed_cuts[row].bounds[s])
				fail_msg("%s into %u by %s: bound %u is %u, DeepSpeed has %u", model.name, stages,
					 deepspeed_cuts[row].method, s, bounds[s], deepspeed_cuts[row].bounds[s]);
	}
}

static void by_method_name_in_any_case_is_taken(void **state)
{
	struct model model = create("alexnet", 224);
	uint32_t a[5], b[5];
	cut(&model, "Type:CONV2D|linear", 4, a);
	cut(&model, "type:Conv2d|Linear", 4, b);
	assert_memory_equal(a, b, sizeof(a));
	cut(&model, "FLOPs", 4, a);
	cut(&model, "flops", 4, b);
	assert_memory_equal(a, b, sizeof(a));
}

static void by_method_any_method_leaves_no_stage_empty(void **state)
{
	static const char *const methods[] = {"flops", "uniform", "parameters", "type:conv", "type:."};
	for (int n = 0; n < 5; n++) {
		struct model model = create(names[n], 64);
		for (int m = 0; m < 5; m++)
			for (uint32_t stages = 1; stages <= model.layer_count; stages++) {
				uint32_t bounds[MODEL_MAXIMUM_LAYERS + 1];
				cut(&model, methods[m], stages, bounds);
				assert_int_equal(bounds[0], 0);
				assert_int_equal(bounds[stages], model.layer_count);
				for (uint32_t s = 0; s < stages; s++)
					assert_true(bounds[s] < bounds[s + 1]);
			}
	}
}

static uint64_t largest_of(const struct model *model, uint32_t stages, const uint32_t *bounds)
{
	uint64_t largest = 0;
	for (uint32_t s = 0; s < stages; s++) {
		uint64_t sum = 0;
		for (uint32_t i = bounds[s]; i < bounds[s + 1]; i++)
			sum += partition_layer_flops(model, i);
		largest = sum > largest ? sum : largest;
	}
	return largest;
}

// The smallest largest stage over every way to cut the layers from bounds[stage] on.
static uint64_t try_all(const struct model *model, uint32_t stage, uint32_t stages, uint32_t *bounds)
{
	if (stage + 1 == stages) {
		bounds[stages] = model->layer_count;
		return largest_of(model, stages, bounds);
	}
	uint64_t best = UINT64_MAX;
	for (uint32_t next = bounds[stage] + 1; next + (stages - stage - 1) <= model->layer_count; next++) {
		bounds[stage + 1] = next;
		uint64_t largest = try_all(model, stage + 1, stages, bounds);
		best = largest < best ? largest : best;
	}
	return best;
}

static void by_method_flops_no_cut_has_a_smaller_largest_stage(void **state)
{
	for (int n = 0; n < 3; n++)
		for (uint32_t size = 64; size <= 224; size += 80)
			for (uint32_t stages = 1; stages <= 5; stages++) {
				struct model model = create(names[n], size);
				uint32_t bounds[6], tried[6] = {0};
				cut(&model, "flops", stages, bounds);
				assert_int_equal(largest_of(&model, stages, bounds), try_all(&model, 0, stages, tried));
			}
}

// ReLU, pooling and dropout cost no FLOPs, so where they go is free: they stay with the layer before them,
// which a device may fuse them into and whose output they shrink.
static void by_method_flops_cuts_stand_before_layers_with_weights(void **state)
{
	for (int n = 0; n < 5; n++)
		for (uint32_t stages = 2; stages <= 4; stages++) {
			struct model model = create(names[n], 224);
			uint32_t bounds[5];
			cut(&model, "flops", stages, bounds);
			for (uint32_t s = 1; s < stages; s++)
				assert_true(layer_parameter_count(&model.layers[bounds[s]]) > 0);
		}
}

// A small image makes avgpool enlarge its input: the cut stands before it.
static void by_method_flops_cuts_stand_where_least_is_sent(void **state)
{
	struct model model = create("alexnet", 63);
	uint32_t bounds[9];
	for (uint32_t stages = 2; stages <= 8; stages++) {
		cut(&model, "flops", stages, bounds);
		for (uint32_t s = 1; s < stages; s++) {
			uint64_t sent = shape_count(model.layers[bounds[s]].input);
			for (uint32_t i = bounds[s]; partition_layer_flops(&model, i) == 0; i++)
				assert_true(sent <= shape_count(model.layers[i].output));
			for (uint32_t i = bounds[s]; i-- > 0 && partition_layer_flops(&model, i) == 0;)
				assert_true(sent <= shape_count(model.layers[i].input));
		}
	}
}

// A stage needs a byte for each of its layers' numbers, times its distance from the end: so that its place counts.
static uint64_t need(const void *user, uint32_t stage, uint32_t first, uint32_t end)
{
	uint64_t bytes = 0;
	for (uint32_t i = first; i < end; i++)
		bytes += 100 + i;
	return bytes * (*(const uint32_t *)user - stage);
}

struct tried {
	uint64_t need, flops; // of the largest stage
};

// All cuts: the smallest largest need, and the smallest largest FLOPs within `limit`.
static void try_cuts(const struct model *model, uint32_t stage, uint32_t stages, uint32_t *bounds, uint64_t limit,
		     struct tried *best)
{
	if (stage == stages) {
		uint64_t most = 0, flops = largest_of(model, stages, bounds);
		for (uint32_t s = 0; s < stages; s++) {
			uint64_t bytes = need(&stages, s, bounds[s], bounds[s + 1]);
			most = bytes > most ? bytes : most;
		}
		best->need = most < best->need ? most : best->need;
		best->flops = most <= limit && flops < best->flops ? flops : best->flops;
		return;
	}
	uint32_t last = stage + 1 == stages ? model->layer_count : model->layer_count - (stages - stage - 1);
	for (uint32_t next = stage + 1 == stages ? last : bounds[stage] + 1; next <= last; next++) {
		bounds[stage + 1] = next;
		try_cuts(model, stage + 1, stages, bounds, limit, best);
	}
}

static uint64_t largest_need(uint32_t stages, const uint32_t *bounds)
{
	uint64_t most = 0;
	for (uint32_t s = 0; s < stages; s++) {
		uint64_t bytes = need(&stages, s, bounds[s], bounds[s + 1]);
		most = bytes > most ? bytes : most;
	}
	return most;
}

static void by_method_memory_no_cut_has_a_smaller_largest_need(void **state)
{
	struct model model = create("alexnet", 224);
	for (uint32_t stages = 1; stages <= 5; stages++) {
		uint32_t bounds[6] = {0}, tried[6] = {0};
		struct tried best = {UINT64_MAX, UINT64_MAX};
		struct partition_memory memory = {need, &stages, 0};
		struct error error = {0};
		try_cuts(&model, 0, stages, tried, 0, &best);
		assert_true(partition_by_method(&model, "memory", stages, &memory, bounds, &error));
		assert_int_equal(largest_need(stages, bounds), best.need);
	}
}

static void by_method_flops_with_a_limit_takes_the_smallest_largest_stage_that_fits(void **state)
{
	struct model model = create("vgg11", 224);
	for (uint32_t stages = 2; stages <= 5; stages++) {
		uint32_t bounds[6] = {0}, tried[6] = {0};
		struct tried least = {UINT64_MAX, UINT64_MAX};
		try_cuts(&model, 0, stages, tried, 0, &least);
		for (int more = 0; more < 4; more++) { // from the tightest limit on
			struct partition_memory memory = {need, &stages, least.need + (uint64_t)more * 150};
			struct tried best = {UINT64_MAX, UINT64_MAX};
			struct error error = {0};
			try_cuts(&model, 0, stages, tried, memory.limit_bytes, &best);
			assert_true(partition_by_method(&model, "flops", stages, &memory, bounds, &error));
			assert_true(largest_need(stages, bounds) <= memory.limit_bytes);
			assert_int_equal(largest_of(&model, stages, bounds), best.flops);
		}
	}
}

static void by_method_flops_when_nothing_fits_cuts_by_memory(void **state)
{
	struct model model = create("vgg11", 224);
	uint32_t stages = 4, a[5], b[5];
	struct partition_memory memory = {need, &stages, 1};
	struct error error = {0};
	assert_true(partition_by_method(&model, "flops", stages, &memory, a, &error));
	assert_true(partition_by_method(&model, "memory", stages, &memory, b, &error));
	assert_memory_equal(a, b, sizeof(a));
}

static void by_method_flops_with_a_wide_limit_cuts_as_without(void **state)
{
	struct model model = create("vgg16", 224);
	uint32_t stages = 4, a[5], b[5];
	struct partition_memory memory = {need, &stages, UINT64_MAX};
	struct error error = {0};
	cut(&model, "flops", stages, a);
	assert_true(partition_by_method(&model, "flops", stages, &memory, b, &error));
	assert_memory_equal(a, b, sizeof(a));
}

static void layer_flops_first_layer_has_no_input_gradient(void **state)
{
	struct model model = create("vgg11", 32);
	assert_int_equal(partition_layer_flops(&model, 0), 2 * layer_forward_flops(&model.layers[0]));
	assert_int_equal(partition_layer_flops(&model, 3), 3 * layer_forward_flops(&model.layers[3]));
	assert_int_equal(partition_layer_flops(&model, 1), 0);
}

static void by_method_type_takes_regular_expressions_anywhere_in_the_name(void **state)
{
	// The only layers that count are three Linears: each stage of three gets one of them.
	struct model model = create("alexnet", 224);
	uint32_t bounds[4];
	cut(&model, "type:^lin.*r$", 3, bounds);
	for (uint32_t s = 0; s < 3; s++) {
		uint32_t linears = 0;
		for (uint32_t i = bounds[s]; i < bounds[s + 1]; i++)
			linears += model.layers[i].kind == LAYER_LINEAR;
		assert_int_equal(linears, 1);
	}
}

static void expect_refused(const struct model *model, const char *method, uint32_t stages, const char *text)
{
	uint32_t bounds[MODEL_MAXIMUM_LAYERS + 2];
	struct error error = {0};
	assert_false(partition_by_method(model, method, stages, NULL, bounds, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.message, text);
}

static void by_method_bad_request_is_refused(void **state)
{
	struct model model = create("alexnet", 224);
	expect_refused(&model, "flops", 23, "22 layers");
	expect_refused(&model, "flops", 0, "pipeline size 0");
	expect_refused(&model, "uniform", SCHEDULE_MAXIMUM_STAGES + 1, "pipeline size 65");
	expect_refused(&model, "profile", 2, "flops, memory, uniform, parameters, type:REGEX");
	expect_refused(&model, "", 2, "unknown partition method");
	expect_refused(&model, "type:LayerNorm", 2, "matches no layer");
	expect_refused(&model, "type:(", 2, "type:(");
}

static void explicit_split_is_taken(void **state)
{
	struct model model = create("alexnet", 224);
	uint32_t bounds[4] = {9, 9, 9, 9};
	struct error error = {0};
	assert_true(partition_explicit(&model, "3,8", 3, bounds, &error));
	const uint32_t expected[4] = {0, 3, 8, 22};
	assert_memory_equal(bounds, expected, sizeof(expected));
	assert_true(partition_explicit(&model, "", 1, bounds, &error));
	assert_int_equal(bounds[1], 22);
	assert_true(partition_explicit(&model, "21", 2, bounds, &error));
	assert_int_equal(bounds[1], 21);
}

static void explicit_bad_split_is_refused_and_leaves_the_output(void **state)
{
	static const char *const splits[] = {"0,3", "3,3", "8,3",  "3,22", "3,8,9", "3",    "",
					     "3,",  ",3",  "3,,8", "a,b",  "3;8",   "-1,3", "3,99999999999999999999"};
	struct model model = create("alexnet", 224);
	for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
		uint32_t bounds[4] = {7, 7, 7, 7};
		struct error error = {0};
		if (partition_explicit(&model, splits[i], 3, bounds, &error))
			fail_msg("split \"%s\" was taken", splits[i]);
		assert_int_equal(error.code, ERROR_USAGE);
		assert_non_null(strstr(error.message, "--split"));
		for (int s = 0; s < 4; s++)
			assert_int_equal(bounds[s], 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_method_three_of_deepspeeds_cuts_where_deepspeed_does),
		cmocka_unit_test(by_method_name_in_any_case_is_taken),
		cmocka_unit_test(by_method_any_method_leaves_no_stage_empty),
		cmocka_unit_test(by_method_flops_no_cut_has_a_smaller_largest_stage),
		cmocka_unit_test(by_method_flops_cuts_stand_before_layers_with_weights),
		cmocka_unit_test(by_method_flops_cuts_stand_where_least_is_sent),
		cmocka_unit_test(by_method_memory_no_cut_has_a_smaller_largest_need),
		cmocka_unit_test(by_method_flops_with_a_limit_takes_the_smallest_largest_stage_that_fits),
		cmocka_unit_test(by_method_flops_when_nothing_fits_cuts_by_memory),
		cmocka_unit_test(by_method_flops_with_a_wide_limit_cuts_as_without),
		cmocka_unit_test(layer_flops_first_layer_has_no_input_gradient),
		cmocka_unit_test(by_method_type_takes_regular_expressions_anywhere_in_the_name),
		cmocka_unit_test(by_method_bad_request_is_refused),
		cmocka_unit_test(explicit_split_is_taken),
		cmocka_unit_test(explicit_bad_split_is_refused_and_leaves_the_output),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
