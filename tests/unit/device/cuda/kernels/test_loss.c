// Softmax cross-entropy.
#include "tests/unit/device/cuda/kernels/harness.h"

static void check_loss(enum data_type type, uint32_t n, uint32_t classes, float scale)
{
	uint64_t count = (uint64_t)n * classes;
	float *logits = filled("logits", scale, count);
	uint8_t *labels = host_new(n);
	rule_fill_labels("labels", n, classes < 256 ? classes : 256, labels);
	for (uint64_t e = 0; e < count; e += 3)
		logits[e] = roundf(logits[e]); // equals among the largest, some rows
	struct tensor from = typed(type, count, logits), label = tensor_of(labels, n);
	struct tensor loss = tensor_new(sizeof(float), 0), correct = tensor_new(sizeof(uint32_t), 0);
	struct tensor gradient = typed_new(type, count);
	double expected = 0.0, *expected_gradient = doubles(count);
	uint32_t expected_correct = 0;
	for (uint32_t i = 0; i < n; i++) {
		const float *x = logits + (uint64_t)i * classes;
		uint32_t largest = 0;
		double sum = 0.0;
		for (uint32_t c = 1; c < classes; c++)
			largest = x[c] > x[largest] ? c : largest;
		for (uint32_t c = 0; c < classes; c++)
			sum += exp((double)x[c] - x[largest]);
		for (uint32_t c = 0; c < classes; c++)
			expected_gradient[(uint64_t)i * classes + c] =
				(exp((double)x[c] - x[largest]) / sum - (c == labels[i])) * 0.125;
		expected += (log(sum) + x[largest] - x[labels[i]]) / n;
		expected_correct += largest == labels[i];
	}
	check(kernel_loss(NULL, type, n, classes, from.at, (uint8_t *)label.at, (float *)loss.at,
			  (uint32_t *)correct.at));
	check(kernel_loss_backward(NULL, type, n, classes, from.at, (uint8_t *)label.at, 0.125f, gradient.at));
	float *got = tensor_bytes(&loss), *got_gradient = typed_values(type, count, &gradient);
	uint32_t *got_correct = tensor_bytes(&correct);
	assert_close("loss", DATA_FLOAT32, 1, got, &expected, 3e-6);
	assert_int_equal(*got_correct, expected_correct);
	assert_close("loss's gradient", type, count, got_gradient, expected_gradient, 2e-6);
	tensor_free(&from);
	tensor_free(&label);
	tensor_free(&loss);
	tensor_free(&correct);
	tensor_free(&gradient);
	free(logits);
	free(labels);
	free(expected_gradient);
	free(got);
	free(got_gradient);
	free(got_correct);
}

static void loss_any_shape_is_softmax_cross_entropy(void **state)
{
	static const uint32_t shapes[][2] = {{1, 1}, {1, 10}, {5, 2}, {16, 33}, {37, 10}, {130, 256}, {3, 1000}};
	for_each_type(type) for (size_t i = 0; i < LENGTH(shapes); i++)
	{
		check_loss(type, shapes[i][0], shapes[i][1], 1.0f);
		check_loss(type, shapes[i][0], shapes[i][1], 40.0f);
	}
}

static void loss_of_nan_is_nan(void **state)
{
	const float logits[3] = {1.0f, NAN, 2.0f};
	const uint8_t labels[1] = {0};
	struct tensor from = tensor_of(logits, sizeof(logits)), label = tensor_of(labels, 1);
	struct tensor loss = tensor_new(sizeof(float), 0), correct = tensor_new(sizeof(uint32_t), 0);
	check(kernel_loss(NULL, DATA_FLOAT32, 1, 3, from.at, (uint8_t *)label.at, (float *)loss.at,
			  (uint32_t *)correct.at));
	float *got = tensor_bytes(&loss);
	assert_true(isnan(*got));
	tensor_free(&from);
	tensor_free(&label);
	tensor_free(&loss);
	tensor_free(&correct);
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loss_any_shape_is_softmax_cross_entropy),
		cmocka_unit_test(loss_of_nan_is_nan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
