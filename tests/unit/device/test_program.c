// Whole programs: the same bits wherever the model is cut and however many micro-batches are in flight; memory as
// planned; bad specifications refused.
#include "tests/unit/device/suite.h"

#include <string.h>
#include <unistd.h>

#include "tests/unit/device/rule.h"
#include "coordinator/models/models.h"

enum { N = 2, MICRO_BATCHES = 4, STEPS = 2, MAXIMUM_STAGES = 4 };

struct result {
	float losses[STEPS * MICRO_BATCHES];
	uint32_t correct[STEPS * MICRO_BATCHES];
	double squares[2 * MODEL_MAXIMUM_LAYERS];
	float *parameters;
	uint64_t count;
};

struct pipeline {
	struct harness *harness;
	const struct model *model;
	uint32_t stages;
	struct program_spec spec[MAXIMUM_STAGES];
	struct program *program[MAXIMUM_STAGES];
	float *boundary; // large enough for any
};

static void forward_micro_batch(struct pipeline *p, uint32_t slot, uint64_t first_sample)
{
	const struct device_ops *ops = p->harness->ops;
	struct error error = {0};
	for (uint32_t s = 0; s < p->stages; s++) {
		if (s > 0)
			harness_check(ops->write_input(p->program[s], slot, p->boundary, HARNESS_WAIT, &error), error);
		harness_forward(p->harness, p->program[s], &p->spec[s], slot, first_sample);
		if (s + 1 < p->stages)
			harness_check(ops->read_output(p->program[s], slot, p->boundary, HARNESS_WAIT, &error), error);
	}
}

static void backward_micro_batch(struct pipeline *p, uint32_t slot)
{
	const struct device_ops *ops = p->harness->ops;
	struct error error = {0};
	for (uint32_t s = p->stages; s-- > 0;) {
		if (s + 1 == p->stages)
			harness_check(ops->loss_backward(p->program[s], slot, 1.0f, &error), error);
		else
			harness_check(ops->write_output_gradient(p->program[s], p->boundary, HARNESS_WAIT, &error),
				      error);
		harness_backward(p->harness, p->program[s], &p->spec[s], slot);
		if (s > 0)
			harness_check(ops->read_input_gradient(p->program[s], p->boundary, HARNESS_WAIT, &error),
				      error);
	}
}

static void run_step(struct pipeline *p, uint32_t step, uint32_t slots, struct result *result)
{
	const struct device_ops *ops = p->harness->ops;
	struct error error = {0};
	uint32_t last = p->stages - 1;
	for (uint32_t s = 0; s < p->stages; s++)
		harness_check(ops->zero_gradients(p->program[s], &error), error);
	for (uint32_t begin = 0; begin < MICRO_BATCHES; begin += slots) {
		uint32_t end = begin + slots < MICRO_BATCHES ? begin + slots : MICRO_BATCHES;
		for (uint32_t m = begin; m < end; m++) {
			uint32_t number = step * MICRO_BATCHES + m, slot = m % slots;
			uint8_t images[N * 3 * 32 * 32], labels[N];
			char name[32];
			snprintf(name, sizeof(name), "micro-batch %u", number);
			rule_fill_bytes(name, sizeof(images), images);
			rule_fill_labels(name, N, p->model->classes, labels);
			harness_check(ops->load_images(p->program[0], slot, images, HARNESS_WAIT, &error), error);
			harness_check(ops->load_labels(p->program[last], slot, labels, HARNESS_WAIT, &error), error);
			forward_micro_batch(p, slot, (uint64_t)number * N);
			harness_loss(ops, p->program[last], slot, m, &result->losses[number], &result->correct[number]);
		}
		for (uint32_t m = begin; m < end; m++)
			backward_micro_batch(p, m % slots);
	}
	struct optimizer_step settings = {.step = step, .learning_rate = 0.05f, .beta1 = 0.9f, .gradient_scale = 0.9f};
	double *squares = result->squares;
	for (uint32_t s = 0; s < p->stages; s++) {
		harness_check(ops->gradient_squares(p->program[s], squares, &error), error);
		squares += model_first_parameter(p->model, p->spec[s].end_layer) -
			   model_first_parameter(p->model, p->spec[s].first_layer);
		harness_check(ops->optimizer_step(p->program[s], &settings, &error), error);
	}
}

// Trains STEPS steps with stages cut before each layer in `cuts`.
static void train_with(struct harness *harness, const struct model *model, const uint32_t *cuts, uint32_t cut_count,
		       uint32_t slots, uint32_t checkpoint_interval, enum data_type boundary_type,
		       struct result *ret_result)
{
	struct error error = {0};
	struct pipeline p = {.harness = harness, .model = model, .stages = cut_count + 1};
	uint64_t largest = 0;
	for (uint32_t i = 0; i < model->layer_count; i++)
		if (shape_count(model->layers[i].output) > largest)
			largest = shape_count(model->layers[i].output);
	p.boundary = harness_floats(N * largest);
	for (uint32_t s = 0; s < p.stages; s++) {
		p.spec[s] =
			harness_spec(model, s == 0 ? 0 : cuts[s - 1], s == cut_count ? model->layer_count : cuts[s], N);
		p.spec[s].slots = slots;
		p.spec[s].micro_batches = MICRO_BATCHES;
		p.spec[s].checkpoint_interval = checkpoint_interval;
		p.spec[s].boundary_type = boundary_type;
		p.program[s] = harness_program(harness, &p.spec[s]);
	}
	memset(ret_result, 0, sizeof(*ret_result));
	for (uint32_t step = 0; step < STEPS; step++)
		run_step(&p, step, slots, ret_result);
	for (uint32_t i = 0; i < model_parameter_count(model); i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		ret_result->count += parameter.count;
	}
	float *to = ret_result->parameters = harness_floats(ret_result->count);
	for (uint32_t s = 0; s < p.stages; s++) {
		uint32_t end = model_first_parameter(model, p.spec[s].end_layer);
		for (uint32_t i = model_first_parameter(model, p.spec[s].first_layer); i < end; i++) {
			struct parameter parameter;
			model_parameter(model, i, &parameter);
			harness_check(harness->ops->read_parameter(p.program[s], i, to, &error), error);
			to += parameter.count;
		}
		harness->ops->program_destroy(p.program[s]);
	}
	free(p.boundary);
}

static void train(struct harness *harness, const struct model *model, const uint32_t *cuts, uint32_t cut_count,
		  uint32_t slots, struct result *ret_result)
{
	train_with(harness, model, cuts, cut_count, slots, 0, DATA_FLOAT32, ret_result);
}

static void assert_same_bits(const struct result *a, const struct result *b, const char *what, uint32_t number)
{
	if (memcmp(a->losses, b->losses, sizeof(a->losses)) != 0)
		fail_msg("%s %u: the losses differ: %.9g and %.9g first", what, number, a->losses[0], b->losses[0]);
	if (memcmp(a->squares, b->squares, sizeof(a->squares)) != 0)
		fail_msg("%s %u: the sums of squares differ", what, number);
	assert_memory_equal(a->correct, b->correct, sizeof(a->correct));
	if (memcmp(a->parameters, b->parameters, a->count * sizeof(float)) != 0)
		fail_msg("%s %u: the parameters differ", what, number);
}

static void steps_any_cut_give_the_same_bits(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	harness_small_model(0.5f, &model);
	struct result whole, cut;
	train(harness, &model, NULL, 0, 1, &whole);
	assert_true(whole.losses[0] > 0.0f && whole.losses[0] != whole.losses[MICRO_BATCHES]);
	for (uint32_t layer = 1; layer < model.layer_count; layer++) {
		train(harness, &model, &layer, 1, 1, &cut);
		assert_same_bits(&whole, &cut, "cut before layer", layer);
		free(cut.parameters);
	}
	static const uint32_t cuts[][3] = {{3, 9, 13}, {1, 4, 8}, {2, 5, 12}, {10, 11, 16}, {6, 7, 14}};
	for (uint32_t i = 0; i < 5; i++) {
		train(harness, &model, cuts[i], 3, 2, &cut);
		assert_same_bits(&whole, &cut, "three cuts, number", i);
		free(cut.parameters);
		train(harness, &model, cuts[i], 2, 4, &cut);
		assert_same_bits(&whole, &cut, "two cuts, number", i);
		free(cut.parameters);
	}
	free(whole.parameters);
	harness_close(harness);
}

static void steps_any_number_of_slots_give_the_same_bits(void **state)
{
	struct harness *harness = harness_open(*state, 2);
	struct model model;
	harness_small_model(0.5f, &model);
	struct result one, more;
	train(harness, &model, NULL, 0, 1, &one);
	for (uint32_t slots = 2; slots <= MICRO_BATCHES; slots++) {
		train(harness, &model, NULL, 0, slots, &more);
		assert_same_bits(&one, &more, "slots", slots);
		free(more.parameters);
	}
	free(one.parameters);
	harness_close(harness);
}

// Every interval puts the runs' heads elsewhere: also on layers that work in place, and behind a fused ReLU.
static void steps_any_checkpoint_interval_gives_the_same_bits(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	harness_small_model(0.5f, &model);
	struct result all, checkpointed;
	train(harness, &model, NULL, 0, MICRO_BATCHES, &all);
	static const uint32_t intervals[] = {1, 2, 3, 5, 7, 11, 16, 18};
	for (uint32_t i = 0; i < 8; i++) {
		uint32_t interval = intervals[i];
		train_with(harness, &model, NULL, 0, MICRO_BATCHES, interval, DATA_FLOAT32, &checkpointed);
		assert_same_bits(&all, &checkpointed, "checkpoint interval", interval);
		free(checkpointed.parameters);
		train_with(harness, &model, (uint32_t[]){5, 12}, 2, 2, interval, DATA_FLOAT32, &checkpointed);
		assert_same_bits(&all, &checkpointed, "two cuts and checkpoint interval", interval);
		free(checkpointed.parameters);
	}
	free(all.parameters);
	harness_close(harness);
}

// A slot then keeps little, and the stash is one run's.
static void program_memory_checkpoints_need_less(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct error error = {0};
	struct model model;
	harness_check(models_create_chain("vgg11", 64, 10, 0.5f, &model, &error), error);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, 4);
	struct memory_use all, checkpointed;
	spec.slots = spec.micro_batches = 8;
	all = harness_plan_memory(harness, &spec);
	spec.checkpoint_interval = 5;
	checkpointed = harness_plan_memory(harness, &spec);
	assert_true(checkpointed.stash_bytes < all.stash_bytes / 2);
	assert_int_equal(checkpointed.parameter_bytes, all.parameter_bytes);
	harness_close(harness);
}

// Half as many bytes cross; what is lost is the rounding of what crossed, and the last stage's gradient is rounded, too.
static void steps_narrow_boundary_stay_close(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	harness_small_model(0.0f, &model);
	struct result wide, narrow;
	train(harness, &model, (uint32_t[]){3, 9}, 2, 2, &wide);
	for (enum data_type type = DATA_BFLOAT16; type < DATA_TYPE_COUNT; type++) {
		train_with(harness, &model, (uint32_t[]){3, 9}, 2, 2, 0, type, &narrow);
		double tolerance = type == DATA_BFLOAT16 ? 0x1p-7 : 0x1p-10;
		for (uint32_t i = 0; i < MICRO_BATCHES; i++) { // of the first step: later ones drift apart
			double difference = narrow.losses[i] - wide.losses[i];
			if (!(difference <= tolerance * wide.losses[i] && -difference <= tolerance * wide.losses[i]))
				fail_msg("%s: loss %u is %g, was %g", data_type_name(type), i, narrow.losses[i],
					 wide.losses[i]);
		}
		assert_true(memcmp(narrow.losses, wide.losses, sizeof(narrow.losses)) != 0);
		free(narrow.parameters);
	}
	free(wide.parameters);
	harness_close(harness);
}

static uint64_t resident_bytes(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%llu %llu", &size, &resident), 2);
	fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

// What a program maps is what was planned; a step maps nothing more.
static void program_memory_equals_plan_and_what_is_resident(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_check(models_create_chain("alexnet", 64, 10, 0.5f, &model, &error), error);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, 4);
	spec.slots = 2;
	spec.optimizer = (struct optimizer){.kind = OPTIMIZER_ADAM, .epsilon = 1e-8f};
	struct memory_use plan, use;
	plan = harness_plan_memory(harness, &spec);
	uint64_t parameters = 0;
	for (uint32_t i = 0; i < model.layer_count; i++)
		parameters += layer_parameter_count(&model.layers[i]);
	assert_in_range(plan.parameter_bytes, parameters * 4, parameters * 4 + (1 << 20));
	assert_in_range(plan.gradient_bytes, parameters * 4, parameters * 4 + (1 << 20));
	assert_in_range(plan.optimizer_bytes, parameters * 8, parameters * 8 + (2 << 20));
	uint64_t before = resident_bytes();
	struct program *program = NULL;
	harness_check(ops->program_create(harness->device, &spec, &program, &error), error);
	harness_check(ops->program_allocate(program, &error), error);
	ops->program_memory(program, &use);
	assert_memory_equal(&plan, &use, sizeof(plan));
	uint64_t created = resident_bytes();
	if (!HARNESS_IS_SANITIZED && strcmp(ops->name, "cpu") == 0)
		assert_in_range(created - before, memory_use_total(&plan) - (1 << 20),
				memory_use_total(&plan) + (16 << 20));
	uint8_t images[4 * 3 * 32 * 32], labels[4];
	rule_fill_bytes("images", sizeof(images), images);
	rule_fill_labels("labels", 4, 10, labels);
	uint64_t after_first = 0;
	for (uint64_t step = 0; step < 5; step++) {
		float loss;
		uint32_t correct;
		harness_check(ops->zero_gradients(program, &error), error);
		harness_check(ops->load_images(program, 1, images, HARNESS_WAIT, &error), error);
		harness_check(ops->load_labels(program, 1, labels, HARNESS_WAIT, &error), error);
		harness_forward(harness, program, &spec, 1, 0);
		harness_loss(ops, program, 1, 0, &loss, &correct);
		harness_check(ops->loss_backward(program, 1, 1.0f, &error), error);
		harness_backward(harness, program, &spec, 1);
		struct optimizer_step settings = {
			.step = step, .learning_rate = 1e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .gradient_scale = 1.0f};
		harness_check(ops->optimizer_step(program, &settings, &error), error);
		if (step == 1)
			after_first = resident_bytes();
	}
	if (!HARNESS_IS_SANITIZED)
		assert_in_range(resident_bytes(), 0, after_first + (1 << 20));
	ops->program_destroy(program);
	if (!HARNESS_IS_SANITIZED)
		assert_in_range(resident_bytes(), 0, before + (32 << 20));
	harness_close(harness);
}

static void program_create_bad_specification_is_refused(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct model model;
	harness_small_model(0.5f, &model);
	const struct program_spec good = harness_spec(&model, 0, model.layer_count, 2);
	struct program_spec bad[] = {good, good, good, good, good, good, good, good};
	bad[0].end_layer = model.layer_count + 1;
	bad[1].first_layer = 3;
	bad[1].end_layer = 3;
	bad[2].micro_batch_size = 0;
	bad[3].slots = 0;
	bad[4].micro_batches = 0;
	bad[5].raw_image_size = 0;
	bad[6].standard_deviation[1] = 0.0f;
	struct model unknown = model;
	unknown.layers[4].kind = (enum layer_kind)99;
	bad[7].model = &unknown;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct program *program = NULL;
		struct error error = {0};
		assert_false(harness->ops->program_create(harness->device, &bad[i], &program, &error));
		assert_int_equal(error.code, ERROR_USAGE);
		assert_null(program);
	}
	harness_close(harness);
}

// More than any machine has: an error with the number, not a dead process.
static void program_allocate_more_than_the_machine_is_out_of_memory(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct error error = {0};
	struct model model;
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, 9, 12, 65536);
	spec.slots = 65536;
	struct program *program = NULL;
	struct memory_use use;
	harness_check(harness->ops->program_create(harness->device, &spec, &program, &error), error);
	harness->ops->program_memory(program, &use);
	assert_true(memory_use_total(&use) > 1ull << 43);
	assert_false(harness->ops->program_allocate(program, &error));
	assert_int_equal(error.code, ERROR_OUT_OF_MEMORY);
	harness->ops->program_destroy(program);
	harness_close(harness);
}

// What the caller will allocate of the host's memory counts, wherever the program's own memory lies.
static void program_allocate_beside_more_than_the_host_has_is_out_of_memory(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	struct error error = {0};
	struct model model;
	harness_small_model(0.5f, &model);
	struct program_spec spec = harness_spec(&model, 9, 12, 4);
	spec.beside_bytes = 1ull << 50;
	struct program *program = NULL;
	harness_check(harness->ops->program_create(harness->device, &spec, &program, &error), error);
	assert_false(harness->ops->program_allocate(program, &error));
	assert_int_equal(error.code, ERROR_OUT_OF_MEMORY);
	assert_non_null(strstr(error.message, "1024.0 TiB"));
	harness->ops->program_destroy(program);
	harness_close(harness);
}

// Reading one parameter's gradient before the first micro-batch makes it zeros; its neighbour's is still the step before's.
static void backward_weight_after_one_gradient_was_read_is_the_same(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	struct program_spec spec = harness_spec(&model, 3, 4, N);
	struct program *program = harness_program(harness, &spec);
	uint32_t weight = model_first_parameter(&model, 3);
	struct parameter parameter;
	model_parameter(&model, weight, &parameter);
	float *input = harness_filled("input", 1.0f, N * shape_count(model.layers[3].input));
	float *direction = harness_filled("direction", 1.0f, N * shape_count(model.layers[3].output));
	float *gradients[3] = {harness_floats(parameter.count), harness_floats(parameter.count),
			       harness_floats(parameter.count)};
	float biases[3][32];
	assert_true(model.layers[3].out_channels <= 32);
	harness_check(ops->write_input(program, 0, input, HARNESS_WAIT, &error), error);
	harness_forward(harness, program, &spec, 0, 0);
	for (uint32_t i = 0; i < 3; i++) { // the first as usual, then one of both read
		harness_check(ops->zero_gradients(program, &error), error);
		if (i == 1)
			harness_check(ops->read_gradient(program, weight, gradients[i], HARNESS_WAIT, &error), error);
		if (i == 2)
			harness_check(ops->read_gradient(program, weight + 1, biases[i], HARNESS_WAIT, &error), error);
		harness_check(ops->write_output_gradient(program, direction, HARNESS_WAIT, &error), error);
		harness_backward(harness, program, &spec, 0);
		harness_check(ops->read_gradient(program, weight, gradients[i], HARNESS_WAIT, &error), error);
		harness_check(ops->read_gradient(program, weight + 1, biases[i], HARNESS_WAIT, &error), error);
		assert_memory_equal(gradients[i], gradients[0], parameter.count * sizeof(float));
		assert_memory_equal(biases[i], biases[0], model.layers[3].out_channels * sizeof(float));
	}
	for (int i = 0; i < 3; i++)
		free(gradients[i]);
	free(input);
	free(direction);
	ops->program_destroy(program);
	harness_close(harness);
}

static void passes_wrong_slot_or_layer_are_refused(void **state)
{
	struct harness *harness = harness_open(*state, 1);
	const struct device_ops *ops = harness->ops;
	struct error error = {0};
	struct model model;
	harness_small_model(0.0f, &model);
	struct program_spec spec = harness_spec(&model, 3, 6, 1);
	struct program *program = harness_program(harness, &spec);
	float *values = harness_floats(1 << 16);
	assert_false(ops->forward(program, 1, 3, 0, &error));
	assert_false(ops->forward(program, 0, 2, 0, &error));
	assert_false(ops->forward(program, 0, 6, 0, &error));
	assert_false(ops->backward_weight(program, 1, 3, &error));
	assert_false(ops->backward_input(program, 0, 6, &error));
	assert_false(ops->write_input(program, 1, values, HARNESS_WAIT, &error));
	assert_false(ops->read_output(program, 1, values, HARNESS_WAIT, &error));
	assert_false(ops->read_parameter(program, model_first_parameter(&model, 3) - 1, values, &error));
	assert_false(ops->read_gradient(program, model_first_parameter(&model, 6), values, HARNESS_WAIT, &error));
	assert_false(ops->load_images(program, 0, (uint8_t *)values, HARNESS_WAIT, &error));
	assert_false(ops->load_labels(program, 0, (uint8_t *)values, HARNESS_WAIT, &error));
	harness_check(ops->forward(program, 0, 3, 0, &error), error);
	free(values);
	ops->program_destroy(program);
	harness_close(harness);
}

static void device_find_names(void **state)
{
	const struct device_ops *own = *state, *found = NULL;
	struct error error = {0};
	char indexed[64];
	snprintf(indexed, sizeof(indexed), "%s:0", own->name);
	assert_true(device_find(own->name, &found, &error) && found == own);
	found = NULL;
	assert_true(device_find(indexed, &found, &error) && found == own);
	snprintf(indexed, sizeof(indexed), "%s:x", own->name);
	assert_false(device_find(indexed, &found, &error));
	assert_false(device_find("abacus", &found, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, own->name));
	struct harness *harness = harness_open(own, 2);
	struct device_info info = {0};
	own->describe(harness->device, &info);
	assert_in_range(info.threads, strcmp(own->name, "cpu") == 0 ? 1 : 0, 2);
	assert_true(info.physical_bytes > 1 << 20 && info.description[0] != '\0');
	harness_close(harness);
}

static const struct suite_case cases[] = {
	SUITE_CASE(steps_any_cut_give_the_same_bits),
	SUITE_CASE(steps_any_number_of_slots_give_the_same_bits),
	SUITE_CASE(steps_any_checkpoint_interval_gives_the_same_bits),
	SUITE_CASE(steps_narrow_boundary_stay_close),
	SUITE_CASE(program_memory_checkpoints_need_less),
	SUITE_CASE(program_memory_equals_plan_and_what_is_resident),
	SUITE_CASE(program_create_bad_specification_is_refused),
	SUITE_CASE(program_allocate_more_than_the_machine_is_out_of_memory),
	SUITE_CASE(program_allocate_beside_more_than_the_host_has_is_out_of_memory),
	SUITE_CASE(backward_weight_after_one_gradient_was_read_is_the_same),
	SUITE_CASE(passes_wrong_slot_or_layer_are_refused),
	SUITE_CASE(device_find_names),
};

int main(void)
{
	return suite_run("device programs", cases, sizeof(cases) / sizeof(cases[0]));
}
