// Which kernels a layer may use is asked in the same words, with the same candidates, wherever the model is cut, with any number of
// slots, with and without recomputation and replicas, and whatever was asked before: so one answer holds for a layer, whatever
// stage it is in.
#include "tests/unit/device/picker.h"
#include "tests/unit/device/suite.h"

enum { N = 4 };

static void settle(struct harness *harness, struct picker *picker, struct program_spec *spec)
{
	struct error error = {0};
	struct program *program = NULL;
	spec->chooser = &picker->chooser;
	harness_check(harness->ops->program_create(harness->device, spec, &program, &error), error);
	harness_check(harness->ops->program_allocate(program, &error), error);
	harness->ops->program_destroy(program);
}

static void compare(const struct choice *stage, const struct choice *whole)
{
	if (stage->layer != whole->layer || strcmp(stage->key, whole->key) != 0)
		fail_msg("layer %u asks %s, and in the whole model layer %u asks %s", stage->layer, stage->key,
			 whole->layer, whole->key);
	if (stage->count != whole->count || memcmp(stage->names, whole->names, sizeof(stage->names)) != 0)
		fail_msg("layer %u, %s: %u candidates, the first %s; in the whole model %u, the first %s", stage->layer,
			 stage->key, stage->count, stage->names[0], whole->count, whole->names[0]);
}

// The stage's questions are the whole model's about its layers.
static void compare_stage(const struct picker *stage, const struct picker *whole, const struct program_spec *spec)
{
	uint32_t next = 0;
	for (uint32_t i = 0; i < whole->count; i++) {
		if (whole->asked[i].layer < spec->first_layer || whole->asked[i].layer >= spec->end_layer)
			continue;
		if (next == stage->count)
			fail_msg("layers %u to %u do not ask %s", spec->first_layer, spec->end_layer - 1,
				 whole->asked[i].key);
		compare(&stage->asked[next++], &whole->asked[i]);
	}
	assert_int_equal(next, stage->count);
}

static void check_type(const struct device_ops *ops, enum data_type type)
{
	struct harness *harness = harness_open(ops, 1);
	struct model model;
	static struct picker whole, stage;
	picker_init(&whole);
	picker_init(&stage);
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, N);
	spec.compute_type = spec.boundary_type = type;
	settle(harness, &whole, &spec);
	assert_true(whole.count > 10 && whole.open > 5);
	for (uint32_t cut = 1; cut < model.layer_count; cut++)
		for (uint32_t part = 0; part < 3; part++) { // before it, after it, and the layer behind it alone
			spec.first_layer = part == 0 ? 0 : cut;
			spec.end_layer = part == 0 ? cut : part == 1 ? model.layer_count : cut + 1;
			spec.slots = 1 + cut % 3;
			spec.micro_batches = 1 + cut % 5;
			spec.checkpoint_interval = cut % 4;
			spec.replicas = cut % 2 == 1;
			settle(harness, &stage, &spec);
			compare_stage(&stage, &whole, &spec);
		}
	harness_close(harness);
}

static void questions_do_not_depend_on_the_stage(void **state)
{
	check_type(*state, DATA_FLOAT32);
}

static void questions_in_16_bits_do_not_depend_on_the_stage(void **state)
{
	const struct device_ops *ops = *state;
	if (strcmp(ops->name, "cpu") != 0) // which has no 16 bits
		check_type(ops, DATA_FLOAT16);
}

// An answer that is none of the kernels is not used, and asked anew with all of them.
static void questions_answered_wrongly_are_open_again(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	static struct picker right, wrong;
	picker_init(&right);
	picker_init(&wrong);
	wrong.known = "plain.engine_999";
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, N);
	settle(harness, &right, &spec);
	settle(harness, &wrong, &spec);
	assert_int_equal(wrong.open, wrong.count);
	for (uint32_t i = 0; i < right.count; i++)
		if (right.asked[i].count > 0) // it was open
			compare(&wrong.asked[i], &right.asked[i]);
	harness_close(harness);
}

static void candidates_can_all_be_run(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	static struct picker picker;
	picker_init(&picker);
	picker.runs_all = true;
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, N);
	settle(harness, &picker, &spec);
	harness_close(harness);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(questions_do_not_depend_on_the_stage),
		SUITE_CASE(questions_in_16_bits_do_not_depend_on_the_stage),
		SUITE_CASE(questions_answered_wrongly_are_open_again),
		SUITE_CASE(candidates_can_all_be_run),
	};
	return suite_run("questions", cases, sizeof(cases) / sizeof(cases[0]));
}
