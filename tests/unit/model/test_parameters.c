// Parameters: torchvision's names and shapes in its order, and initial values with the distribution that it
// draws from.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/model.h"
#include "coordinator/models/models.h"

static struct model create(const char *name)
{
	struct model model;
	struct error error = {0};
	assert_true(models_create_chain(name, 64, 10, -1, &model, &error));
	return model;
}

static void parameter_alexnet_names_and_shapes_are_torchvisions(void **state)
{
	static const struct {
		const char *name;
		uint32_t rank, dimensions[4];
	} expected[] = {
		{"features.0.weight", 4, {64, 3, 11, 11}},   {"features.0.bias", 1, {64}},
		{"features.3.weight", 4, {192, 64, 5, 5}},   {"features.3.bias", 1, {192}},
		{"features.6.weight", 4, {384, 192, 3, 3}},  {"features.6.bias", 1, {384}},
		{"features.8.weight", 4, {256, 384, 3, 3}},  {"features.8.bias", 1, {256}},
		{"features.10.weight", 4, {256, 256, 3, 3}}, {"features.10.bias", 1, {256}},
		{"classifier.1.weight", 2, {4096, 9216}},    {"classifier.1.bias", 1, {4096}},
		{"classifier.4.weight", 2, {4096, 4096}},    {"classifier.4.bias", 1, {4096}},
		{"classifier.6.weight", 2, {10, 4096}},      {"classifier.6.bias", 1, {10}},
	};
	struct model model = create("alexnet");
	assert_int_equal(model_parameter_count(&model), 16);
	uint64_t sum = 0;
	for (uint32_t i = 0; i < 16; i++) {
		struct parameter parameter;
		uint64_t count = 1;
		model_parameter(&model, i, &parameter);
		assert_string_equal(parameter.name, expected[i].name);
		assert_int_equal(parameter.rank, expected[i].rank);
		for (uint32_t d = 0; d < parameter.rank; d++) {
			assert_int_equal(parameter.dimensions[d], expected[i].dimensions[d]);
			count *= parameter.dimensions[d];
		}
		assert_int_equal(parameter.count, count);
		assert_int_equal(parameter.is_bias, i % 2 == 1);
		assert_int_equal(strncmp(parameter.name, model.layers[parameter.layer].name,
					 strlen(model.layers[parameter.layer].name)),
				 0);
		sum += count;
	}
	assert_int_equal(sum, 57044810); // torchvision.models.alexnet(num_classes=10)
}

static void first_parameter_counts_what_comes_before(void **state)
{
	struct model model = create("alexnet");
	static const uint32_t layers[] = {0, 1, 3, 4, 13, 16, 17, 21, 22},
			      expected[] = {0, 2, 2, 4, 10, 10, 12, 14, 16};
	for (int i = 0; i < 9; i++)
		assert_int_equal(model_first_parameter(&model, layers[i]), expected[i]);
}

static float *draw(const struct model *model, const char *name, uint64_t seed, uint64_t *ret_count)
{
	for (uint32_t i = 0; i < model_parameter_count(model); i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		if (strcmp(parameter.name, name) != 0)
			continue;
		float *values = malloc(parameter.count * sizeof(*values));
		assert_non_null(values);
		model_draw_parameter(model, &parameter, seed, values);
		*ret_count = parameter.count;
		return values;
	}
	fail_msg("no parameter %s", name);
	return NULL;
}

// Mean, variance and fourth moment within five standard errors of a symmetric distribution's.
static void expect_moments(const float *values, uint64_t count, double variance, double kurtosis, double eighth)
{
	double n = (double)count, sum = 0, squares = 0, fourths = 0;
	for (uint64_t i = 0; i < count; i++) {
		double x = (double)values[i] / sqrt(variance);
		sum += x;
		squares += x * x;
		fourths += x * x * x * x;
	}
	assert_true(fabs(sum / n) < 5 / sqrt(n));
	assert_true(fabs(squares / n - 1) < 5 * sqrt((kurtosis - 1) / n));
	assert_true(fabs(fourths / n - kurtosis) < 5 * sqrt((eighth - kurtosis * kurtosis) / n));
}

static void draw_alexnet_is_uniform_within_pytorchs_bound(void **state)
{
	static const struct {
		const char *name;
		double fan_in;
	} cases[] = {
		{"features.0.weight", 3 * 11 * 11}, {"features.3.weight", 64 * 5 * 5}, {"features.3.bias", 64 * 5 * 5},
		{"classifier.4.weight", 4096},      {"classifier.4.bias", 4096},
	};
	struct model model = create("alexnet");
	for (int i = 0; i < 5; i++) {
		uint64_t count;
		float *values = draw(&model, cases[i].name, 1, &count);
		double bound = 1 / sqrt(cases[i].fan_in), least = 1, most = -1;
		for (uint64_t j = 0; j < count; j++) {
			least = fmin(least, values[j]);
			most = fmax(most, values[j]);
		}
		assert_true(least >= -bound * (1 + 1e-6) && most <= bound * (1 + 1e-6));
		assert_true(least < -0.9 * bound && most > 0.9 * bound);
		expect_moments(values, count, bound * bound / 3, 9.0 / 5, 9.0);
		free(values);
	}
}

static void draw_vgg_is_normal_with_torchvisions_deviation(void **state)
{
	struct model model = create("vgg11");
	static const struct {
		const char *name;
		double variance;
	} cases[] = {
		{"features.0.weight", 2.0 / (64 * 9)},
		{"features.3.weight", 2.0 / (128 * 9)},
		{"classifier.6.weight", 1e-4},
	};
	uint64_t count;
	for (int i = 0; i < 3; i++) {
		float *values = draw(&model, cases[i].name, 1, &count);
		expect_moments(values, count, cases[i].variance, 3, 105);
		free(values);
	}
	static const char *const biases[] = {"features.0.bias", "classifier.0.bias", "classifier.6.bias"};
	for (int i = 0; i < 3; i++) {
		float *values = draw(&model, biases[i], 1, &count);
		for (uint64_t j = 0; j < count; j++)
			assert_true(values[j] == 0);
		free(values);
	}
}

static void draw_again_gives_the_same_and_another_seed_or_name_does_not(void **state)
{
	struct model model = create("alexnet"), vgg = create("vgg11");
	uint64_t count;
	float *a = draw(&model, "features.8.bias", 1, &count), *b = draw(&model, "features.8.bias", 1, &count);
	float *seed = draw(&model, "features.8.bias", 2, &count), *name = draw(&model, "features.6.bias", 1, &count);
	assert_memory_equal(a, b, 256 * sizeof(float));
	assert_memory_not_equal(a, seed, 256 * sizeof(float));
	uint32_t same = 0;
	for (int i = 0; i < 256; i++)
		same += a[i] == name[i] * (float)(sqrt(192.0 * 9) / sqrt(384.0 * 9));
	assert_true(same < 3);
	free(a);
	free(b);
	free(seed);
	free(name);
	a = draw(&vgg, "features.0.weight", 1, &count);
	b = draw(&vgg, "features.0.weight", 1ull << 32 | 1, &count); // the seed's upper half counts
	assert_memory_not_equal(a, b, count * sizeof(float));
	free(a);
	free(b);
}

// Element i does not depend on how many elements there are: a layer of more classes begins with the same
// rows.
static void draw_element_depends_on_its_index_alone(void **state)
{
	struct model ten = create("alexnet"), seven;
	struct error error = {0};
	assert_true(models_create_chain("alexnet", 200, 7, -1, &seven, &error));
	uint64_t count, fewer;
	float *a = draw(&ten, "classifier.6.bias", 9, &count), *b = draw(&seven, "classifier.6.bias", 9, &fewer);
	assert_int_equal(fewer, 7);
	assert_memory_equal(a, b, 7 * sizeof(float));
	free(a);
	free(b);
}

static void draw_no_initializer_gives_zeros(void **state)
{
	struct model model = create("alexnet");
	model.layers[0].initializer = INITIALIZER_NONE;
	uint64_t count;
	float *values = draw(&model, "features.0.weight", 1, &count);
	for (uint64_t i = 0; i < count; i++)
		assert_true(values[i] == 0);
	free(values);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameter_alexnet_names_and_shapes_are_torchvisions),
		cmocka_unit_test(first_parameter_counts_what_comes_before),
		cmocka_unit_test(draw_alexnet_is_uniform_within_pytorchs_bound),
		cmocka_unit_test(draw_vgg_is_normal_with_torchvisions_deviation),
		cmocka_unit_test(draw_again_gives_the_same_and_another_seed_or_name_does_not),
		cmocka_unit_test(draw_element_depends_on_its_index_alone),
		cmocka_unit_test(draw_no_initializer_gives_zeros),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
