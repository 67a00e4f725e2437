// Gradients that go out of a program, and back in, as replicas of a stage sum them: in every type that the device computes in, and with
// and without program_spec.replicas.
#include "tests/unit/device/suite.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/unit/device/rule.h"

enum { N = 3, SLOTS = 2, MOST_PARAMETERS = 16 };

struct fixture {
	struct harness *harness;
	const struct device_ops *ops;
	struct model model;
	struct program_spec spec;
	struct program *program;
	uint32_t count; // of parameters
	struct parameter parameters[MOST_PARAMETERS];
};

static void make_program(struct fixture *f, enum data_type type, bool replicas)
{
	harness_small_model(0.0f, &f->model);
	f->spec = harness_spec(&f->model, 0, f->model.layer_count, N);
	f->spec.slots = f->spec.micro_batches = SLOTS;
	f->spec.compute_type = type;
	f->spec.replicas = replicas;
	f->program = harness_program(f->harness, &f->spec);
	f->count = model_parameter_count(&f->model);
	assert_true(f->count <= MOST_PARAMETERS);
	for (uint32_t i = 0; i < f->count; i++)
		model_parameter(&f->model, i, &f->parameters[i]);
}

static bool computes_in(struct harness *harness, enum data_type type)
{
	struct model model;
	struct error error = {0};
	struct program *program = NULL;
	harness_small_model(0.0f, &model);
	struct program_spec spec = harness_spec(&model, 0, model.layer_count, N);
	spec.compute_type = type;
	if (harness->ops->program_create(harness->device, &spec, &program, &error)) {
		harness->ops->program_destroy(program);
		return true;
	}
	assert_int_equal(error.code, ERROR_USAGE);
	return false;
}

// Runs `check` on a new program of each type, as one of replicas; and on one that is not, of one type, since types differ in no more.
static void for_each_program(void **state, void (*check)(struct fixture *f))
{
	struct fixture f = {.harness = harness_open(*state, 2), .ops = *state};
	for (enum data_type type = DATA_FLOAT32; type < DATA_TYPE_COUNT; type++) {
		if (!computes_in(f.harness, type))
			continue;
		for (int replicas = type == DATA_FLOAT32 ? 0 : 1; replicas < 2; replicas++) {
			make_program(&f, type, replicas != 0);
			check(&f);
			f.ops->program_destroy(f.program);
		}
	}
	harness_close(f.harness);
}

// ---- what the cases are made of

struct gradients {
	float *of[MOST_PARAMETERS];
};

static struct gradients make_gradients(const struct fixture *f)
{
	struct gradients gradients = {0};
	for (uint32_t i = 0; i < f->count; i++)
		gradients.of[i] = harness_floats(f->parameters[i].count);
	return gradients;
}

static void free_gradients(const struct gradients *gradients)
{
	for (uint32_t i = 0; i < MOST_PARAMETERS; i++)
		free(gradients->of[i]);
}

static struct gradients read_gradients(const struct fixture *f)
{
	struct error error = {0};
	struct gradients gradients = make_gradients(f);
	for (uint32_t i = 0; i < f->count; i++) {
		memset(gradients.of[i], 0xff, f->parameters[i].count * sizeof(float));
		harness_check(f->ops->read_gradient(f->program, i, gradients.of[i], HARNESS_WAIT, &error), error);
	}
	return gradients;
}

static void write_gradients(const struct fixture *f, const struct gradients *gradients)
{
	struct error error = {0};
	for (uint32_t i = 0; i < f->count; i++)
		harness_check(f->ops->write_gradient(f->program, i, gradients->of[i], HARNESS_WAIT, &error), error);
}

static void fill_gradients(const struct fixture *f, uint32_t seed, const struct gradients *gradients)
{
	for (uint32_t i = 0; i < f->count; i++) {
		char name[PARAMETER_NAME_SIZE + 16];
		snprintf(name, sizeof(name), "%s, %u", f->parameters[i].name, seed);
		rule_fill(name, 1.0f, f->parameters[i].count, gradients->of[i]);
	}
}

static void scale_gradients(const struct fixture *f, float scale, const struct gradients *gradients)
{
	for (uint32_t i = 0; i < f->count; i++)
		for (uint64_t j = 0; j < f->parameters[i].count; j++)
			gradients->of[i][j] *= scale;
}

static void assert_same_gradients(const struct fixture *f, const struct gradients *a, const struct gradients *b)
{
	for (uint32_t i = 0; i < f->count; i++)
		if (memcmp(a->of[i], b->of[i], f->parameters[i].count * sizeof(float)) != 0)
			fail_msg("%s in %s%s: other bits", f->parameters[i].name, data_type_name(f->spec.compute_type),
				 f->spec.replicas ? ", of replicas" : "");
}

static void forward(const struct fixture *f, uint32_t slot)
{
	struct error error = {0};
	uint8_t images[N * 3 * 32 * 32], labels[N];
	char name[32];
	snprintf(name, sizeof(name), "micro-batch %u", slot);
	rule_fill_bytes(name, sizeof(images), images);
	rule_fill_labels(name, N, 10, labels);
	harness_check(f->ops->load_images(f->program, slot, images, HARNESS_WAIT, &error), error);
	harness_check(f->ops->load_labels(f->program, slot, labels, HARNESS_WAIT, &error), error);
	harness_forward(f->harness, f->program, &f->spec, slot, 0);
}

static void backward(const struct fixture *f, uint32_t slot)
{
	struct error error = {0};
	harness_check(f->ops->loss_backward(f->program, slot, 1.0f, &error), error);
	harness_backward(f->harness, f->program, &f->spec, slot);
}

static void pass(const struct fixture *f, uint32_t slot)
{
	forward(f, slot);
	backward(f, slot);
}

static void zero(const struct fixture *f)
{
	struct error error = {0};
	harness_check(f->ops->zero_gradients(f->program, &error), error);
}

// ---- cases

static void check_read_back(struct fixture *f)
{
	struct gradients written = make_gradients(f);
	for (uint32_t round = 0; round < 2; round++) { // into nothing; over what is there
		fill_gradients(f, round, &written);
		write_gradients(f, &written);
		for (int again = 0; again < 2; again++) {
			struct gradients read = read_gradients(f);
			assert_same_gradients(f, &read, &written);
			free_gradients(&read);
		}
	}
	free_gradients(&written);
}

static void write_gradient_is_what_read_gradient_gives(void **state)
{
	for_each_program(state, check_read_back);
}

static void check_zeros(struct fixture *f)
{
	struct gradients zeros = make_gradients(f), written = make_gradients(f);
	fill_gradients(f, 0, &written);
	for (int round = 0; round < 3; round++) { // as made; after a pass; after a gradient was written
		if (round == 1)
			pass(f, 0);
		if (round == 2)
			write_gradients(f, &written);
		if (round > 0)
			zero(f);
		struct gradients read = read_gradients(f);
		assert_same_gradients(f, &read, &zeros);
		free_gradients(&read);
	}
	free_gradients(&zeros);
	free_gradients(&written);
}

static void read_gradient_where_nothing_was_added_is_zeros(void **state)
{
	for_each_program(state, check_zeros);
}

// What was written before zero_gradients has no part in what comes after.
static void check_zero_after_write(struct fixture *f)
{
	struct gradients written = make_gradients(f);
	fill_gradients(f, 0, &written);
	zero(f);
	pass(f, 0);
	struct gradients expected = read_gradients(f);
	write_gradients(f, &written);
	zero(f);
	pass(f, 0);
	struct gradients read = read_gradients(f);
	assert_same_gradients(f, &read, &expected);
	free_gradients(&read);
	free_gradients(&expected);
	free_gradients(&written);
}

static void zero_gradients_after_write_gradient_begins_anew(void **state)
{
	for_each_program(state, check_zero_after_write);
}

static void check_squares(struct fixture *f)
{
	struct error error = {0};
	double before[MOST_PARAMETERS], after[MOST_PARAMETERS];
	zero(f);
	pass(f, 0);
	harness_check(f->ops->gradient_squares(f->program, before, &error), error);
	struct gradients gradients = read_gradients(f);
	scale_gradients(f, 2.0f, &gradients);
	write_gradients(f, &gradients);
	harness_check(f->ops->gradient_squares(f->program, after, &error), error);
	for (uint32_t i = 0; i < f->count; i++) {
		assert_true(before[i] > 0.0);
		if (after[i] != 4.0 * before[i])
			fail_msg("%s: %.17g, wanted 4 times %.17g", f->parameters[i].name, after[i], before[i]);
	}
	free_gradients(&gradients);
}

static void gradient_squares_after_write_gradient_are_of_what_was_written(void **state)
{
	for_each_program(state, check_squares);
}

// A gradient doubled in the host's memory steps as one doubled by the optimizer's scale does, to the bit.
static void check_step(struct fixture *f)
{
	struct error error = {0};
	struct gradients stepped[2];
	for (int by_host = 0; by_host < 2; by_host++) {
		struct optimizer_step settings = {.learning_rate = 0.05f, .gradient_scale = by_host ? 1.0f : 2.0f};
		struct program *program = harness_program(f->harness, &f->spec);
		struct fixture own = *f;
		own.program = program;
		zero(&own);
		pass(&own, 0);
		if (by_host) {
			struct gradients gradients = read_gradients(&own);
			scale_gradients(f, 2.0f, &gradients);
			write_gradients(&own, &gradients);
			free_gradients(&gradients);
		}
		harness_check(f->ops->optimizer_step(program, &settings, &error), error);
		stepped[by_host] = make_gradients(f);
		for (uint32_t i = 0; i < f->count; i++)
			harness_check(f->ops->read_parameter(program, i, stepped[by_host].of[i], &error), error);
		f->ops->program_destroy(program);
	}
	assert_same_gradients(f, &stepped[0], &stepped[1]);
	struct gradients unstepped = make_gradients(f);
	for (uint32_t i = 0; i < f->count; i++) {
		harness_check(f->ops->read_parameter(f->program, i, unstepped.of[i], &error), error);
		assert_memory_not_equal(unstepped.of[i], stepped[1].of[i], f->parameters[i].count * sizeof(float));
	}
	free_gradients(&unstepped);
	free_gradients(&stepped[0]);
	free_gradients(&stepped[1]);
}

static void optimizer_step_after_write_gradient_takes_what_was_written(void **state)
{
	for_each_program(state, check_step);
}

static void check_addition(struct fixture *f)
{
	zero(f);
	pass(f, 1);
	struct gradients second = read_gradients(f);
	zero(f);
	pass(f, 0);
	struct gradients first = read_gradients(f);
	scale_gradients(f, 2.0f, &first);
	write_gradients(f, &first);
	pass(f, 1);
	struct gradients sum = read_gradients(f);
	for (uint32_t i = 0; i < f->count; i++) {
		uint64_t count = f->parameters[i].count;
		double *expected = calloc(count, sizeof(*expected));
		assert_non_null(expected);
		for (uint64_t j = 0; j < count; j++)
			expected[j] = (double)first.of[i][j] + second.of[i][j];
		harness_assert_close(f->parameters[i].name, count, sum.of[i], expected, 2e-6);
		free(expected);
	}
	free_gradients(&first);
	free_gradients(&second);
	free_gradients(&sum);
}

static void backward_weight_after_write_gradient_adds_to_what_was_written(void **state)
{
	for_each_program(state, check_addition);
}

// ---- many at once

struct calls {
	atomic_int good, bad;
};

static void count_call(void *user, bool ok)
{
	struct calls *calls = user;
	atomic_fetch_add(ok ? &calls->good : &calls->bad, 1);
}

static void wait_for_calls(struct calls *calls, int count)
{
	while (calls->good + calls->bad < count)
		sched_yield();
	assert_int_equal(calls->bad, 0);
}

// In memory that the device allocates.
static struct gradients make_fast(const struct fixture *f)
{
	struct gradients gradients = {0};
	for (uint32_t i = 0; i < f->count; i++) {
		gradients.of[i] = f->ops->host_allocate(f->harness->device, f->parameters[i].count * sizeof(float));
		assert_non_null(gradients.of[i]);
	}
	return gradients;
}

static void free_fast(const struct fixture *f, const struct gradients *gradients)
{
	for (uint32_t i = 0; i < f->count; i++)
		f->ops->host_free(f->harness->device, gradients->of[i]);
}

// Writes and reads of one gradient follow each other at once, and each read finds the write before it.
static void check_order(struct fixture *f)
{
	enum { ROUNDS = 3 };
	struct gradients written[ROUNDS], read[ROUNDS];
	struct error error = {0};
	struct calls calls = {0};
	struct device_completion completion = {count_call, &calls};
	for (uint32_t round = 0; round < ROUNDS; round++) {
		written[round] = make_fast(f);
		read[round] = make_fast(f);
		fill_gradients(f, round, &written[round]);
	}
	zero(f);
	pass(f, 0);
	for (uint32_t i = 0; i < f->count; i++)
		for (uint32_t round = 0; round < ROUNDS; round++) {
			harness_check(f->ops->write_gradient(f->program, i, written[round].of[i], completion, &error),
				      error);
			harness_check(f->ops->read_gradient(f->program, i, read[round].of[i], completion, &error),
				      error);
		}
	wait_for_calls(&calls, 2 * ROUNDS * (int)f->count);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		assert_same_gradients(f, &read[round], &written[round]);
		free_fast(f, &written[round]);
		free_fast(f, &read[round]);
	}
}

static void transfers_of_one_gradient_take_effect_in_order(void **state)
{
	for_each_program(state, check_order);
}

enum { STEPS = 3 };

// Of the layer, once the micro-batches are summed.
static int read_layer(const struct fixture *f, uint32_t layer, const struct gradients *gradients,
		      struct device_completion completion)
{
	struct error error = {0};
	uint32_t begin = model_first_parameter(&f->model, layer), end = model_first_parameter(&f->model, layer + 1);
	for (uint32_t i = begin; i < end; i++)
		harness_check(f->ops->read_gradient(f->program, i, gradients->of[i], completion, &error), error);
	return (int)(end - begin);
}

// Steps as the executor makes them: each layer's gradients leave behind its last backward_weight, all come back doubled, and nothing
// waits but for memory that is used again. `by_host` false: no transfers; the optimizer doubles.
static struct gradients train(struct fixture *f, bool by_host)
{
	struct error error = {0};
	struct calls calls = {0};
	struct device_completion completion = {count_call, &calls};
	struct gradients gradients = make_fast(f), values = make_gradients(f);
	struct optimizer_step settings = {
		.learning_rate = 0.01f, .beta1 = 0.9f, .gradient_scale = by_host ? 1.0f : 2.0f};
	int expected = 0;
	for (settings.step = 0; settings.step < STEPS; settings.step++) {
		zero(f);
		pass(f, 0);
		forward(f, 1);
		harness_check(f->ops->loss_backward(f->program, 1, 1.0f, &error), error);
		wait_for_calls(&calls, expected); // the last step's writes
		for (uint32_t layer = f->model.layer_count; layer-- > 0;) {
			harness_check(f->ops->backward_weight(f->program, 1, layer, &error), error);
			if (by_host)
				expected += read_layer(f, layer, &gradients, completion);
			harness_check(f->ops->backward_input(f->program, 1, layer, &error), error);
		}
		wait_for_calls(&calls, expected);
		if (by_host)
			scale_gradients(f, 2.0f, &gradients);
		for (uint32_t i = 0; by_host && i < f->count; i++, expected++)
			harness_check(f->ops->write_gradient(f->program, i, gradients.of[i], completion, &error),
				      error);
		harness_check(f->ops->optimizer_step(f->program, &settings, &error), error);
	}
	wait_for_calls(&calls, expected);
	for (uint32_t i = 0; i < f->count; i++)
		harness_check(f->ops->read_parameter(f->program, i, values.of[i], &error), error);
	free_fast(f, &gradients);
	return values;
}

static void check_training(struct fixture *f)
{
	struct gradients by_host = train(f, true);
	f->ops->program_destroy(f->program);
	f->program = harness_program(f->harness, &f->spec);
	struct gradients by_scale = train(f, false);
	assert_same_gradients(f, &by_host, &by_scale);
	free_gradients(&by_host);
	free_gradients(&by_scale);
}

static void steps_with_gradients_doubled_on_the_host_give_the_same_bits(void **state)
{
	for_each_program(state, check_training);
}

static void gradients_of_a_wrong_parameter_or_program_are_refused(void **state)
{
	struct fixture f = {.harness = harness_open(*state, 1), .ops = *state};
	make_program(&f, DATA_FLOAT32, true);
	struct error error = {0};
	float *values = harness_floats(f.parameters[0].count);
	assert_false(f.ops->read_gradient(f.program, f.count, values, HARNESS_WAIT, &error));
	assert_non_null(strstr(error.message, "not in this stage"));
	assert_false(f.ops->write_gradient(f.program, f.count, values, HARNESS_WAIT, &error));
	assert_non_null(strstr(error.message, "not in this stage"));
	f.ops->program_destroy(f.program);
	f.spec.training = false;
	f.program = harness_program(f.harness, &f.spec);
	assert_false(f.ops->read_gradient(f.program, 0, values, HARNESS_WAIT, &error));
	assert_string_equal(error.message, "read_gradient: the program is not for training");
	assert_false(f.ops->write_gradient(f.program, 0, values, HARNESS_WAIT, &error));
	assert_string_equal(error.message, "write_gradient: the program is not for training");
	f.ops->program_destroy(f.program);
	free(values);
	harness_close(f.harness);
}

static const struct suite_case cases[] = {
	SUITE_CASE(write_gradient_is_what_read_gradient_gives),
	SUITE_CASE(read_gradient_where_nothing_was_added_is_zeros),
	SUITE_CASE(zero_gradients_after_write_gradient_begins_anew),
	SUITE_CASE(gradient_squares_after_write_gradient_are_of_what_was_written),
	SUITE_CASE(optimizer_step_after_write_gradient_takes_what_was_written),
	SUITE_CASE(backward_weight_after_write_gradient_adds_to_what_was_written),
	SUITE_CASE(transfers_of_one_gradient_take_effect_in_order),
	SUITE_CASE(steps_with_gradients_doubled_on_the_host_give_the_same_bits),
	SUITE_CASE(gradients_of_a_wrong_parameter_or_program_are_refused),
};

int main(void)
{
	return suite_run("device gradient transfers", cases, sizeof(cases) / sizeof(cases[0]));
}
