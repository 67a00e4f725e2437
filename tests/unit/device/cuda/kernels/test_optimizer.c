// Steps of the optimizers, and sums of squares.
#include "tests/unit/device/cuda/kernels/harness.h"

struct rule_case {
	const char *name;
	struct optimizer optimizer;
	struct optimizer_step step;
};

static const struct rule_case rule_cases[] = {
	{"SGD", {.kind = OPTIMIZER_SGD, .weight_decay = 0.01f}, {.learning_rate = 0.1f, .gradient_scale = 0.5f}},
	{"SGD with momentum",
	 {.kind = OPTIMIZER_SGD, .weight_decay = 0.01f, .dampening = 0.1f},
	 {.learning_rate = 0.1f, .beta1 = 0.9f, .gradient_scale = 1.0f}},
	{"SGD, Nesterov",
	 {.kind = OPTIMIZER_SGD, .nesterov = true},
	 {.learning_rate = 0.1f, .beta1 = 0.9f, .gradient_scale = 0.3f}},
	{"Adam",
	 {.kind = OPTIMIZER_ADAM, .weight_decay = 0.01f, .epsilon = 1e-8f},
	 {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .gradient_scale = 1.0f}},
	{"AdamW",
	 {.kind = OPTIMIZER_ADAMW, .weight_decay = 0.1f, .epsilon = 1e-8f},
	 {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .gradient_scale = 0.7f}},
	{"Lion",
	 {.kind = OPTIMIZER_LION, .weight_decay = 0.1f},
	 {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .gradient_scale = 0.7f}},
	{"Adagrad",
	 {.kind = OPTIMIZER_ADAGRAD, .weight_decay = 0.1f, .epsilon = 1e-10f},
	 {.learning_rate = 0.01f, .gradient_scale = 0.7f}},
};

// stage_server/device/cpu/optimizer.c for one value, each operation rounded: a GPU's answer has the same bits, or it was built with
// multiply-adds.
static void step_in_float(const struct optimizer *o, const struct optimizer_step *s, float gradient, float *value,
			  float state[2])
{
	bool adamw = o->kind == OPTIMIZER_ADAMW || o->kind == OPTIMIZER_LION;
	float g = gradient * s->gradient_scale + (adamw ? 0.0f : o->weight_decay) * *value;
	if (o->kind == OPTIMIZER_SGD) {
		if (s->beta1 != 0.0f) {
			state[0] = s->step == 0 ? g : s->beta1 * state[0] + (1.0f - o->dampening) * g;
			g = o->nesterov ? g + s->beta1 * state[0] : state[0];
		}
		*value -= s->learning_rate * g;
		return;
	}
	float keep = adamw ? 1.0f - s->learning_rate * o->weight_decay : 1.0f;
	if (o->kind == OPTIMIZER_LION) {
		float c = s->beta1 * state[0] + (float)(1.0 - (double)s->beta1) * g;
		*value = keep * *value - s->learning_rate * (c > 0.0f ? 1.0f : c < 0.0f ? -1.0f : c);
		state[0] = s->beta2 * state[0] + (float)(1.0 - (double)s->beta2) * g;
		return;
	}
	if (o->kind == OPTIMIZER_ADAGRAD) {
		state[0] = state[0] + g * g;
		*value -= s->learning_rate * (g / (sqrtf(state[0]) + o->epsilon));
		return;
	}
	float step_size = (float)(s->learning_rate / (1.0 - pow(s->beta1, (double)s->step + 1.0)));
	float root_correction2 = (float)sqrt(1.0 - pow(s->beta2, (double)s->step + 1.0));
	state[0] = state[0] + (float)(1.0 - (double)s->beta1) * (g - state[0]);
	state[1] = s->beta2 * state[1] + (float)(1.0 - (double)s->beta2) * g * g;
	*value = keep * *value - step_size * state[0] / (sqrtf(state[1]) / root_correction2 + o->epsilon);
}

// Three steps; `askew` elements off where packs may lie; the copy in `copy_type`, or none.
static void check_optimizer(const struct rule_case *rule, uint64_t count, uint64_t askew, bool copies,
			    enum data_type copy_type)
{
	float *values = filled("values", 1.0f, count), *gradients = host_new(count * sizeof(float));
	float *state = host_new(2 * count * sizeof(float)), *zeros = host_new(count * sizeof(float));
	double *expected = doubles(count), *expected_state = doubles(2 * count), *wide = doubles(count);
	struct tensor at = typed_askew(DATA_FLOAT32, count, values, askew);
	bool has_first = rule->optimizer.kind != OPTIMIZER_SGD || rule->step.beta1 != 0.0f;
	bool has_second = optimizer_state_tensors(&rule->optimizer) == 2;
	struct tensor states[2] = {typed_askew(DATA_FLOAT32, count, zeros, askew),
				   typed_askew(DATA_FLOAT32, count, zeros, askew)};
	// SGD's first step must not read its buffer.
	if (has_first && rule->optimizer.kind == OPTIMIZER_SGD)
		check(cudaMemset(states[0].at, POISON, states[0].bytes));
	struct tensor copy = tensor_new(count * data_type_bytes(copy_type), askew * data_type_bytes(copy_type));
	for (uint64_t i = 0; i < count; i++)
		expected[i] = values[i];
	for (uint64_t step = 0; step < 3; step++) {
		char name[32];
		snprintf(name, sizeof(name), "gradients.%d", (int)step);
		rule_fill(name, 1.0f, count, gradients);
		struct tensor gradient = typed_askew(DATA_FLOAT32, count, gradients, askew);
		struct optimizer_step now = rule->step;
		now.step = step;
		check(kernel_optimizer_step(NULL, &rule->optimizer, &now, step == 0, count, (float *)at.at,
					    (float *)gradient.at, has_first ? (float *)states[0].at : NULL,
					    has_second ? (float *)states[1].at : NULL, copy_type,
					    copies ? copy.at : NULL));
		for (uint64_t i = 0; i < count; i++) {
			wide[i] = gradients[i];
			step_in_float(&rule->optimizer, &now, gradients[i], &values[i], &state[2 * i]);
		}
		reference_optimizer(&rule->optimizer, &now, count, wide, expected, expected_state);
		tensor_free(&gradient);
	}
	float *got = tensor_bytes(&at), *got_copy = typed_values(copy_type, count, &copy);
	assert_close(rule->name, DATA_FLOAT32, count, got, expected, 2e-6);
	assert_equal(rule->name, DATA_FLOAT32, count, got, values);
	struct tensor rounded = typed(copy_type, count, values);
	if (copies)
		assert_equal(rule->name, copy_type, count, got_copy, values);
	tensor_free(&rounded);
	tensor_free(&at);
	tensor_free(&states[0]);
	tensor_free(&states[1]);
	tensor_free(&copy);
	free(values);
	free(gradients);
	free(state);
	free(zeros);
	free(expected);
	free(expected_state);
	free(wide);
	free(got);
	free(got_copy);
}

static void optimizer_steps_match_the_cpu_to_the_bit(void **state)
{
	static const uint64_t counts[] = {1, 3, 4, 1027};
	for (size_t rule = 0; rule < LENGTH(rule_cases); rule++)
		for (size_t i = 0; i < LENGTH(counts); i++)
			for (uint64_t askew = 0; askew < 2; askew++) {
				check_optimizer(&rule_cases[rule], counts[i], askew, false, DATA_FLOAT32);
				for_each_type(copy) check_optimizer(&rule_cases[rule], counts[i], askew, true, copy);
			}
}

// Padding: value, gradient and state are zero, and stay so even without epsilon.
static void optimizer_zeros_stay_zero(void **state)
{
	struct rule_case rule = rule_cases[3];
	rule.optimizer.epsilon = 0.0f;
	float zeros[5] = {0};
	struct tensor values = tensor_of(zeros, sizeof(zeros)), gradients = tensor_of(zeros, sizeof(zeros));
	struct tensor first = tensor_of(zeros, sizeof(zeros)), second = tensor_of(zeros, sizeof(zeros));
	check(kernel_optimizer_step(NULL, &rule.optimizer, &rule.step, true, 5, (float *)values.at,
				    (float *)gradients.at, (float *)first.at, (float *)second.at, DATA_FLOAT32, NULL));
	float *got = tensor_bytes(&values);
	assert_equal("zeros", DATA_FLOAT32, 5, got, zeros);
	tensor_free(&values);
	tensor_free(&gradients);
	tensor_free(&first);
	tensor_free(&second);
	free(got);
}

// Three steps of one tensor, at any place: the same bits, near what the reference says, and the copy rounded from them.
static void check_lamb(const struct optimizer *optimizer, uint64_t count, uint64_t askew, enum data_type copy_type,
		       float *ret_values)
{
	float *values = filled("values", 1.0f, count), *zeros = host_new(count * sizeof(float));
	float *gradients = host_new(count * sizeof(float));
	double *expected = doubles(count), *state = doubles(2 * count), *wide = doubles(count);
	struct tensor at = typed_askew(DATA_FLOAT32, count, values, askew);
	struct tensor first = typed_askew(DATA_FLOAT32, count, zeros, askew);
	struct tensor second = typed_askew(DATA_FLOAT32, count, zeros, askew);
	struct tensor copy = tensor_new(count * data_type_bytes(copy_type), 0);
	struct tensor scratch = tensor_new(kernel_lamb_scratch(count), 0);
	struct optimizer_step step = {.learning_rate = 0.1f, .beta1 = 0.9f, .beta2 = 0.99f, .gradient_scale = 0.5f};
	for (uint64_t i = 0; i < count; i++)
		expected[i] = values[i];
	for (step.step = 0; step.step < 3; step.step++) {
		char name[32];
		snprintf(name, sizeof(name), "gradients.%d", (int)step.step);
		rule_fill(name, 1.0f, count, gradients);
		for (uint64_t i = 0; i < count; i++)
			wide[i] = gradients[i];
		struct tensor gradient = typed_askew(DATA_FLOAT32, count, gradients, askew);
		check(kernel_lamb_step(NULL, optimizer, &step, count, (float *)at.at, (float *)gradient.at,
				       (float *)first.at, (float *)second.at, copy_type, copy.at, scratch.at));
		reference_optimizer(optimizer, &step, count, wide, expected, state);
		tensor_free(&gradient);
	}
	float *got = tensor_bytes(&at), *got_copy = typed_values(copy_type, count, &copy);
	assert_close("Lamb", DATA_FLOAT32, count, got, expected, 2e-6);
	memcpy(ret_values, got, count * sizeof(float));
	struct tensor rounded = typed(copy_type, count, got); // and so is `got` now
	assert_equal("Lamb's copy", copy_type, count, got_copy, got);
	struct tensor *tensors[] = {&at, &first, &second, &copy, &scratch, &rounded};
	for (size_t t = 0; t < LENGTH(tensors); t++)
		tensor_free(tensors[t]);
	free(values);
	free(zeros);
	free(gradients);
	free(expected);
	free(state);
	free(wide);
	free(got);
	free(got_copy);
}

static void lamb_steps_equal_reference_wherever_the_tensor_lies(void **state)
{
	static const uint64_t counts[] = {1, 5, 1027, 300001};
	static const struct optimizer optimizers[] = {
		{.kind = OPTIMIZER_LAMB, .epsilon = 1e-8f, .minimum_coefficient = 0.01f, .maximum_coefficient = 10.0f},
		{.kind = OPTIMIZER_LAMB,
		 .epsilon = 1e-6f,
		 .weight_decay = 0.1f,
		 .epsilon_inside_root = true,
		 .no_bias_correction = true,
		 .minimum_coefficient = 0.0f,
		 .maximum_coefficient = 0.2f},
	};
	for (size_t o = 0; o < LENGTH(optimizers); o++)
		for (size_t i = 0; i < LENGTH(counts); i++) {
			float *here = host_new(counts[i] * sizeof(float)), *there = host_new(counts[i] * sizeof(float));
			check_lamb(&optimizers[o], counts[i], 0, DATA_FLOAT32, here);
			check_lamb(&optimizers[o], counts[i], 1, DATA_BFLOAT16, there);
			assert_memory_equal(here, there, counts[i] * sizeof(float));
			free(here);
			free(there);
		}
}

static double squares_of(const float *values, uint64_t count, uint64_t askew)
{
	float *copy = host_new(count * sizeof(float));
	memcpy(copy, values, count * sizeof(float));
	struct tensor at = typed_askew(DATA_FLOAT32, count, copy, askew), sum = tensor_new(sizeof(double), 0);
	struct tensor scratch = tensor_new(kernel_squares_scratch(count), 0);
	check(kernel_squares(NULL, count, (float *)at.at, (double *)sum.at, scratch.at));
	double *got = tensor_bytes(&sum), value = *got;
	tensor_free(&at);
	tensor_free(&sum);
	tensor_free(&scratch);
	free(got);
	free(copy);
	return value;
}

static void squares_are_the_same_wherever_they_lie(void **state)
{
	static const uint64_t counts[] = {1, 7, 255, 1000, 300001, 2200000};
	for (size_t i = 0; i < LENGTH(counts); i++) {
		float *values = filled("squares", 3.0f, counts[i]);
		double expected = 0.0, got = squares_of(values, counts[i], 0);
		for (uint64_t e = 0; e < counts[i]; e++)
			expected += (double)values[e] * values[e];
		assert_true(fabs(got - expected) <= 1e-12 * expected);
		for (uint64_t askew = 1; askew < 4; askew++)
			assert_true(squares_of(values, counts[i], askew) == got);
		free(values);
	}
}

static void squares_overflow_shows(void **state)
{
	float values[300] = {0};
	values[299] = INFINITY;
	assert_true(isinf(squares_of(values, 300, 0)));
	values[17] = NAN;
	assert_true(isnan(squares_of(values, 300, 0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(optimizer_steps_match_the_cpu_to_the_bit),
		cmocka_unit_test(optimizer_zeros_stay_zero),
		cmocka_unit_test(lamb_steps_equal_reference_wherever_the_tensor_lies),
		cmocka_unit_test(squares_are_the_same_wherever_they_lie),
		cmocka_unit_test(squares_overflow_shows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
