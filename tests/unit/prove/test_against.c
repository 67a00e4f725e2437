// Parameters against a file: what is within a tolerance, what is worst, and which tensors do not go together.
#include "tests/unit/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "coordinator/prove/against.h"
#include "tests/unit/prove/trainings.h"

struct fixture {
	struct capture *capture;
	struct safetensors_entry entries[5]; // those of the capture; a fifth for a tensor too many
	char path[64];
	struct safetensors *file;
};

static int setup(void **state)
{
	static struct fixture fixture;
	fixture = (struct fixture){.capture = training_create()};
	snprintf(fixture.path, sizeof(fixture.path), "/tmp/penstock-test-%d.safetensors", (int)getpid());
	for (uint32_t i = 0; i < 4; i++) {
		struct parameter parameter;
		model_parameter(&fixture.capture->model, i, &parameter);
		strcpy(fixture.entries[i].name, parameter.name);
		fixture.entries[i].rank = parameter.rank;
		for (uint32_t d = 0; d < parameter.rank; d++)
			fixture.entries[i].dimensions[d] = parameter.dimensions[d];
	}
	fixture.entries[4] = (struct safetensors_entry){.name = "running_mean", .rank = 1, .dimensions = {2}};
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	safetensors_close(fixture->file);
	unlink(fixture->path);
	capture_destroy(fixture->capture);
	return 0;
}

// Of the first `count` entries, with the capture's values, of which element `element` of parameter 2 is `value`.
static void write_file(struct fixture *fixture, uint32_t count, uint64_t element, float value)
{
	struct safetensors_writer *writer;
	struct error error;
	assert_true(safetensors_writer_create(fixture->path, fixture->entries, count, &writer, &error));
	for (uint32_t i = 0; i < count; i++) {
		float values[400] = {0};
		uint64_t floats = 1;
		for (uint32_t d = 0; d < fixture->entries[i].rank; d++)
			floats *= fixture->entries[i].dimensions[d];
		assert_true(floats <= 400);
		if (i < 4)
			memcpy(values, fixture->capture->values[i],
			       (floats * 4 < fixture->capture->received_bytes[i]
					? floats * 4
					: fixture->capture->received_bytes[i]));
		if (i == 2)
			values[element] = value;
		assert_true(safetensors_writer_put(writer, i, 0, values, floats * sizeof(float), &error));
	}
	assert_true(safetensors_writer_finish(writer, &error));
	assert_true(safetensors_open(fixture->path, &fixture->file, &error));
}

static struct against compare(struct fixture *fixture, double relative, uint64_t ulp)
{
	struct against against;
	struct against_tolerance tolerance = {relative, ulp};
	struct error error;
	assert_true(against_compare(fixture->capture, fixture->file, &tolerance, &against, &error));
	return against;
}

static void of_the_same_values_agrees_to_the_bit(void **state)
{
	struct fixture *fixture = *state;
	write_file(fixture, 4, 7, fixture->capture->values[2][7]);
	struct against against = compare(fixture, 0, 0);
	assert_int_equal(against.agree, 4);
	assert_int_equal(against.differ, 0);
	assert_int_equal(against.elements, 54 + 2 + 320 + 10);
	against_fini(&against);
}

static void of_one_ulp_needs_a_tolerance(void **state)
{
	struct fixture *fixture = *state;
	write_file(fixture, 4, 7, nextafterf(fixture->capture->values[2][7], 10.0f));
	struct against strict = compare(fixture, 0, 0), by_ulp = compare(fixture, 0, 1),
		       by_relative = compare(fixture, 1e-6, 0);
	assert_int_equal(strict.agree, 3);
	assert_false(strict.parameters[2].agrees);
	assert_int_equal(strict.worst, 2);
	assert_int_equal(strict.differ, 1);
	assert_int_equal(strict.parameters[2].element, 7);
	assert_int_equal(strict.parameters[2].largest_ulp, 1);
	assert_true(strict.parameters[2].relative > 0);
	assert_int_equal(by_ulp.agree, 4);
	assert_int_equal(by_relative.agree, 4);
	against_fini(&strict);
	against_fini(&by_ulp);
	against_fini(&by_relative);
}

static void of_a_wrong_value_disagrees_and_is_the_worst(void **state)
{
	struct fixture *fixture = *state;
	write_file(fixture, 4, 100, 3.0f);
	struct against against = compare(fixture, 1e-3, 100);
	assert_int_equal(against.agree, 3);
	assert_int_equal(against.worst, 2);
	assert_int_equal(against.parameters[2].element, 100);
	assert_true(against.parameters[2].theirs == 3.0f);
	assert_true(against.parameters[2].relative > 0.1);
	against_fini(&against);
}

static void of_nan_never_agrees_with_a_number(void **state)
{
	struct fixture *fixture = *state;
	write_file(fixture, 4, 5, NAN);
	struct against against = compare(fixture, 1.0, UINT32_MAX);
	assert_int_equal(against.agree, 3);
	assert_int_equal(against.worst, 2);
	assert_int_equal(against.parameters[2].element, 5);
	assert_true(isnan(against.parameters[2].relative));
	assert_true(against.parameters[2].largest_ulp == UINT64_MAX);
	against_fini(&against);
}

static void check_names_what_is_missing_misshapen_and_too_much(void **state)
{
	struct fixture *fixture = *state;
	struct error error;
	char extra[64];
	write_file(fixture, 5, 0, 0);
	assert_true(against_check(&fixture->capture->model, fixture->file, extra, sizeof(extra), &error));
	assert_string_equal(extra, "running_mean");
	safetensors_close(fixture->file);
	fixture->file = NULL;
	strcpy(fixture->entries[0].name, "features.9.weight");
	fixture->entries[2].dimensions[0] = 9;
	write_file(fixture, 4, 0, 0);
	assert_false(against_check(&fixture->capture->model, fixture->file, extra, sizeof(extra), &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "not in the file: features.0.weight"));
	assert_non_null(strstr(error.message, "classifier.0.weight is (9, 32), the model has (10, 32)"));
	assert_non_null(strstr(error.message, "; the model lacks: features.9.weight: --model and --classes must be"));
	assert_string_equal(extra, "features.9.weight");
}

static void check_of_foreign_names_says_what_is_expected_and_what_there_is(void **state)
{
	struct fixture *fixture = *state;
	struct error error;
	char extra[64];
	for (int i = 0; i < 5; i++)
		snprintf(fixture->entries[i].name, sizeof(fixture->entries[i].name), "conv%d.kernel", i);
	write_file(fixture, 3, 0, 0);
	assert_false(against_check(&fixture->capture->model, fixture->file, extra, sizeof(extra), &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_string_equal(
		error.message,
		"no tensor has the name of a parameter of tiny: expected features.0.weight, features.0.bias, "
		"classifier.0.weight, classifier.0.bias; the file has conv0.kernel, conv1.kernel, "
		"conv2.kernel: rename its tensors, or choose its network with --model");
}

// A name that has no room is an ellipsis, and nothing is written past the end.
static void check_cuts_a_list_that_is_too_long(void **state)
{
	struct fixture *fixture = *state;
	struct error error;
	char extra[14];
	strcpy(fixture->entries[1].name, "abc");
	write_file(fixture, 5, 0, 0);
	assert_false(against_check(&fixture->capture->model, fixture->file, extra, sizeof(extra), &error));
	assert_string_equal(extra, "abc, ...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_the_same_values_agrees_to_the_bit, setup, teardown),
		cmocka_unit_test_setup_teardown(of_one_ulp_needs_a_tolerance, setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_wrong_value_disagrees_and_is_the_worst, setup, teardown),
		cmocka_unit_test_setup_teardown(of_nan_never_agrees_with_a_number, setup, teardown),
		cmocka_unit_test_setup_teardown(check_names_what_is_missing_misshapen_and_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(check_of_foreign_names_says_what_is_expected_and_what_there_is, setup,
						teardown),
		cmocka_unit_test_setup_teardown(check_cuts_a_list_that_is_too_long, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
