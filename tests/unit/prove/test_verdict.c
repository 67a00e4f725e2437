// What people and programs read of a difference.
#include "tests/unit/cmocka_all.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "coordinator/prove/verdict.h"
#include "tests/unit/prove/trainings.h"

struct fixture {
	struct plan *reference, *pipeline;
	const char *addresses[4];
	struct proof proof;
	struct capture *a, *b;
	struct comparison comparison;
	struct verdict verdict;
};

static int setup(void **state)
{
	static struct fixture f;
	f = (struct fixture){.addresses = {"one:7070", "two:7070"}, .a = training_create(), .b = training_create()};
	struct error error;
	struct plan_options options = {.partition_method = "flops",
				       .schedule = "1f1b",
				       .pipeline_size = 1,
				       .data_parallel_size = 1,
				       .micro_batch_size = 2,
				       .micro_batches = 3,
				       .raw_image_size = 32,
				       .reduce_bucket_bytes = 1 << 20};
	assert_true(plan_create(&f.a->model, &options, &f.reference, &error));
	options.pipeline_size = 2;
	options.split = "1";
	assert_true(plan_create(&f.a->model, &options, &f.pipeline, &error));
	f.proof = (struct proof){
		.reference = f.reference, .pipeline = f.pipeline, .addresses = f.addresses, .steps = TRAINING_STEPS};
	f.verdict = (struct verdict){.proof = &f.proof, .reference = f.a, .pipeline = f.b, .comparison = &f.comparison};
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	plan_destroy(f->reference);
	plan_destroy(f->pipeline);
	capture_destroy(f->a);
	capture_destroy(f->b);
	return 0;
}

// Returns owned.
static char *print(struct fixture *f)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	verdict_print_proof(&f->proof, out);
	compare_captures(f->a, f->b, &f->comparison);
	verdict_print(&f->verdict, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void of_equal_trainings_says_what_and_how_many(void **state)
{
	char *text = print(*state);
	assert_non_null(strstr(text, "one device: 3 micro-batches of 2 a step"));
	assert_non_null(strstr(text, "  stage 1, layers 1-3: two:7070\n"));
	assert_non_null(strstr(text, "compared bit for bit: 3 losses, 3 gradient norms, 12 norms of single gradients,\n"
				     "4 final parameters with 386 elements\n"
				     "EQUAL: the pipeline trained exactly what one device trains\n"));
	free(text);
}

static void of_a_difference_names_place_bits_and_distance(void **state)
{
	struct fixture *f = *state;
	f->a->squares[4 + 2] = 1.0;
	f->b->squares[4 + 2] = 1.0000000000000002;
	f->a->values[2][33] = 1.0f;
	f->b->values[2][33] = 0.99999994f;
	char *text = print(f);
	assert_non_null(strstr(text,
			       "DIFFERENT: the pipeline did not train what one device trains\n"
			       "0 of 3 losses differ, 0 of 3 gradient norms, 1 of 12 norms of single gradients\n"
			       "the first difference is in step 1: the gradient of classifier.0.weight, as its sum "
			       "of squares (layer 3, stage 1)\n"
			       "  one device   1                         0x3ff0000000000000\n"
			       "  pipeline     1.0000000000000002        0x3ff0000000000001  1 ULP apart\n"
			       "final parameters: 1 of 4 differ, in 1 of 386 elements; the first is\n"
			       "classifier.0.weight[1, 1], element 33 (layer 3, stage 1)\n"
			       "  one device   1                         0x3f800000\n"
			       "  pipeline     0.99999994                0x3f7fffff  1 ULP apart\n"));
	free(text);
}

static void of_nan_of_either_sign_prints_nan(void **state)
{
	struct fixture *f = *state;
	f->a->steps[1].loss = NAN;
	f->b->steps[1].loss = -NAN;
	f->b->values[2][33] = -NAN;
	char *text = print(f);
	assert_non_null(strstr(text, "  one device   nan                       0x7ff8000000000000\n"
				     "  pipeline     nan                       0xfff8000000000000  not a number\n"));
	assert_null(strstr(text, "-nan"));
	free(text);
}

static void of_narrow_boundaries_says_that_bits_differ_by_design(void **state)
{
	struct fixture *f = *state;
	f->pipeline->options.boundary_type = DATA_BFLOAT16;
	f->b->steps[0].loss = 1.0;
	char *text = print(f);
	assert_non_null(strstr(text, "note: tensors between stages are rounded to bfloat16"));
	assert_non_null(strstr(text, "this is by design"));
	free(text);
}

static void of_replicas_says_what_is_compared(void **state)
{
	struct fixture *f = *state;
	f->reference->options.data_parallel_size = f->pipeline->options.data_parallel_size = 2;
	f->addresses[0] = f->addresses[1] = f->addresses[2] = f->addresses[3] = "one:7070";
	char *text = print(f);
	assert_non_null(strstr(text, "no pipeline: 2 replicas, each with the whole network on one device\n"));
	assert_non_null(strstr(text, "  stage 1 of replica 1, layers 1-3: one:7070\n"));
	assert_non_null(strstr(text, "note: the number of replicas decides the order"));
	assert_non_null(
		strstr(text, "EQUAL: the pipeline trained exactly what the same replicas train without a pipeline\n"));
	free(text);
}

static void of_json_every_line_can_be_read(void **state)
{
	struct fixture *f = *state;
	struct error error;
	char *text = NULL;
	size_t size;
	f->b->values[0][1] = __builtin_nanf("");
	FILE *out = open_memstream(&text, &size);
	compare_captures(f->a, f->b, &f->comparison);
	assert_true(verdict_write_proof(&f->proof, out, &error) && verdict_write(&f->verdict, out, &error));
	assert_int_equal(fclose(out), 0);
	char *rest = NULL;
	json_t *object = NULL;
	int lines = 0;
	for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		json_decref(object);
		object = json_loads(line, 0, NULL);
		assert_non_null(object);
		lines++;
	}
	assert_int_equal(lines, 1 + TRAINING_STEPS + 1);
	assert_true(json_is_false(json_object_get(object, "equal")));
	assert_true(json_is_true(json_object_get(object, "diverged")));
	json_t *first = json_object_get(object, "first_difference");
	assert_string_equal(json_string_value(json_object_get(first, "parameter")), "features.0.weight");
	assert_int_equal(json_integer_value(json_object_get(first, "element")), 1);
	assert_true(json_is_null(json_object_get(first, "ulp")));
	assert_true(json_is_null(json_object_get(first, "value")));
	json_decref(object);
	free(text);
}

static void json_that_cannot_be_written_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct error error;
	FILE *full = fopen("/dev/full", "w");
	assert_non_null(full);
	assert_false(verdict_write_proof(&f->proof, full, &error));
	assert_non_null(strstr(error.message, "No space left"));
	fclose(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_equal_trainings_says_what_and_how_many, setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_difference_names_place_bits_and_distance, setup, teardown),
		cmocka_unit_test_setup_teardown(of_nan_of_either_sign_prints_nan, setup, teardown),
		cmocka_unit_test_setup_teardown(of_narrow_boundaries_says_that_bits_differ_by_design, setup, teardown),
		cmocka_unit_test_setup_teardown(of_replicas_says_what_is_compared, setup, teardown),
		cmocka_unit_test_setup_teardown(of_json_every_line_can_be_read, setup, teardown),
		cmocka_unit_test_setup_teardown(json_that_cannot_be_written_is_an_error, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
