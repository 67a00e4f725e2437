// Bytes of images to normalised, resized input.
#include "tests/unit/device/cuda/kernels/harness.h"

static void images_any_size_match_interpolate(void **state)
{
	static const struct {
		uint32_t n, raw, size, channels;
	} cases[] = {{3, 32, 33, 3}, {2, 32, 32, 8}, {1, 32, 7, 4}, {2, 5, 65, 8}, {1, 1, 3, 5}, {2, 32, 300, 8}};
	const float mean[3] = {0.49f, 0.48f, 0.45f}, deviation[3] = {0.25f, 0.24f, 0.26f};
	for_each_type(type) for (size_t i = 0; i < LENGTH(cases); i++)
	{
		uint32_t n = cases[i].n, raw = cases[i].raw, size = cases[i].size, c = cases[i].channels;
		uint64_t pixels = (uint64_t)size * size, bytes = (uint64_t)n * 3 * raw * raw;
		uint8_t *images = host_new(bytes);
		rule_fill_bytes("images", bytes, images);
		double *planes = doubles(n * 3 * pixels), *expected = doubles(n * pixels * c);
		reference_images(images, n, raw, size, mean, deviation, planes);
		for (uint64_t p = 0; p < n * pixels; p++)
			for (uint32_t k = 0; k < 3; k++)
				expected[p * c + k] = planes[(p / pixels * 3 + k) * pixels + p % pixels];
		struct image_kernel spec = {.n = n, .raw_size = raw, .size = size, .channels = c};
		memcpy(spec.mean, mean, sizeof(mean));
		memcpy(spec.standard_deviation, deviation, sizeof(deviation));
		struct tensor from = tensor_of(images, bytes), to = typed_new(type, n * pixels * c);
		check(kernel_images(NULL, type, &spec, (uint8_t *)from.at, to.at));
		float *values = typed_values(type, n * pixels * c, &to);
		assert_close("images", type, n * pixels * c, values, expected, 1e-6);
		tensor_free(&from);
		tensor_free(&to);
		free(images);
		free(planes);
		free(expected);
		free(values);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(images_any_size_match_interpolate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
