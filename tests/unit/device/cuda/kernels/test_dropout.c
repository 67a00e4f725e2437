// Dropout draws what the counter-based generator says.
#include "tests/unit/device/cuda/kernels/harness.h"

static void check_dropout(enum data_type type, struct dropout_kernel spec, uint64_t askew)
{
	uint64_t elements = (uint64_t)spec.positions * spec.channels, count = spec.n * elements;
	float *values = filled("values", 1.0f, count), *gradients = filled("gradients", 1.0f, count);
	double *expected = doubles(count), *expected_gradients = doubles(count);
	uint8_t *expected_mask = host_new(count);
	struct tensor at = typed_askew(type, count, values, askew);
	struct tensor gradient = typed_askew(type, count, gradients, askew);
	struct tensor mask = tensor_new(count, askew);
	float scale = spec.probability < 1.0f ? 1.0f / (1.0f - spec.probability) : 0.0f;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t p = i / spec.channels % spec.positions, c = i % spec.channels;
		uint64_t draw = c * spec.positions + p; // its place in NCHW
		uint32_t words[4];
		random_block(spec.key, spec.first_sample + i / elements, draw / 4, words);
		expected_mask[i] = random_uniform(words[draw % 4]) >= spec.probability;
		expected[i] = expected_mask[i] ? (double)values[i] * scale : 0.0;
		expected_gradients[i] = expected_mask[i] ? (double)gradients[i] * scale : 0.0;
	}
	check(kernel_dropout(NULL, type, &spec, at.at, (uint8_t *)mask.at));
	check(kernel_dropout_backward(NULL, type, &spec, (uint8_t *)mask.at, gradient.at));
	float *got = typed_values(type, count, &at), *got_gradients = typed_values(type, count, &gradient);
	uint8_t *got_mask = tensor_bytes(&mask);
	assert_memory_equal(got_mask, expected_mask, count);
	assert_close("dropout", type, count, got, expected, 0.0);
	assert_close("dropout's gradient", type, count, got_gradients, expected_gradients, 0.0);
	tensor_free(&at);
	tensor_free(&gradient);
	tensor_free(&mask);
	free(values);
	free(gradients);
	free(expected);
	free(expected_gradients);
	free(expected_mask);
	free(got);
	free(got_gradients);
	free(got_mask);
}

static void dropout_draws_are_those_of_the_generator(void **state)
{
	static const struct {
		uint32_t n, positions, channels;
		float probability;
	} cases[] = {{3, 1, 37, 0.5f}, {2, 1, 1024, 0.5f}, {2, 36, 8, 0.3f}, {3, 35, 5, 0.7f},
		     {1, 1, 64, 0.0f}, {1, 4, 16, 1.0f},   {1, 1, 1, 0.5f},  {17000, 1, 4, 0.5f}};
	static const uint64_t first_samples[] = {0, 5000000000ull};
	struct random_key key = random_key_make(7, RANDOM_DROPOUT, random_hash_name("classifier.0"));
	for_each_type(type) for (size_t i = 0; i < LENGTH(cases); i++) for (uint64_t askew = 0; askew < 2; askew++)
		check_dropout(type,
			      (struct dropout_kernel){.key = key,
						      .first_sample = first_samples[i % 2],
						      .n = cases[i].n,
						      .positions = cases[i].positions,
						      .channels = cases[i].channels,
						      .probability = cases[i].probability},
			      askew);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dropout_draws_are_those_of_the_generator),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
