// Which passes of a layer were computed by other kernels, or on other machines.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "coordinator/prove/kernels.h"

static const char *const here = "cpu/threads=1", *const there = "cpu/threads=2";

// A training of one rank with layers 0 and 2, or of two ranks with one of them each.
static struct kernel_list make(uint32_t ranks, const char *const *machines, const struct job_kernel *kernels)
{
	struct kernel_list list;
	struct error error;
	const struct job_kernel *of_rank[2] = {kernels, kernels + 1};
	uint32_t counts[2] = {ranks == 1 ? 2 : 1, 1};
	struct job_numerics numerics = {.machines = machines, .kernels = of_rank, .kernel_counts = counts};
	assert_true(kernels_copy(&numerics, ranks, &list, &error));
	return list;
}

static void of_the_same_kernels_is_nothing(void **state)
{
	const struct job_kernel kernels[2] = {{0, "convolution-forward/a", "direct"}, {2, "linear-forward/b", NULL}};
	const char *machines[2] = {here, here};
	struct kernel_list reference = make(1, machines, kernels), pipeline = make(2, machines, kernels);
	struct kernel_difference difference;
	assert_int_equal(kernels_compare(&reference, &pipeline, 1, &difference, 1), 0);
	assert_true(kernels_share_machine(&reference, &pipeline));
	kernels_fini(&reference);
	kernels_fini(&pipeline);
}

static void of_another_kernel_names_layer_and_both(void **state)
{
	const struct job_kernel a[2] = {{0, "convolution-forward/a", "direct"}, {2, "linear-forward/b", "tiles"}};
	const struct job_kernel b[2] = {{0, "convolution-forward/a", "direct"}, {2, "linear-forward/b", "sgemm"}};
	const char *machines[2] = {here, here};
	struct kernel_list reference = make(1, machines, a), pipeline = make(2, machines, b);
	struct kernel_difference difference;
	assert_int_equal(kernels_compare(&reference, &pipeline, 1, &difference, 1), 1);
	assert_int_equal(difference.layer, 2);
	assert_int_equal(difference.rank, 1);
	assert_string_equal(difference.question, "linear-forward/b");
	assert_string_equal(difference.reference, "tiles");
	assert_string_equal(difference.pipeline, "sgemm");
	kernels_fini(&reference);
	kernels_fini(&pipeline);
}

// A question that depends on the cut is asked in one training and not in the other.
static void of_another_question_names_both_sides(void **state)
{
	const struct job_kernel a[2] = {{0, "convolution-forward/a/relu", "direct"}, {2, "linear-forward/b", NULL}};
	const struct job_kernel b[2] = {{0, "convolution-forward/a", "direct"}, {2, "linear-forward/b", NULL}};
	const char *machines[2] = {here, here};
	struct kernel_list reference = make(1, machines, a), pipeline = make(2, machines, b);
	struct kernel_difference differences[2];
	assert_int_equal(kernels_compare(&reference, &pipeline, 1, differences, 2), 2);
	assert_null(differences[0].reference);
	assert_string_equal(differences[0].pipeline, "direct");
	assert_string_equal(differences[1].question, "convolution-forward/a/relu");
	assert_null(differences[1].pipeline);
	kernels_fini(&reference);
	kernels_fini(&pipeline);
}

static void of_another_machine_is_a_difference(void **state)
{
	const struct job_kernel kernels[2] = {{0, "convolution-forward/a", "direct"}, {2, "linear-forward/b", NULL}};
	const char *machines[2] = {here, there};
	struct kernel_list reference = make(1, machines, kernels), pipeline = make(2, machines, kernels);
	struct kernel_difference difference;
	assert_int_equal(kernels_compare(&reference, &pipeline, 1, &difference, 1), 1);
	assert_int_equal(difference.layer, 2);
	assert_string_equal(difference.pipeline_machine, there);
	assert_false(kernels_share_machine(&reference, &pipeline));
	kernels_fini(&reference);
	kernels_fini(&pipeline);
}

// Two replicas without a pipeline, each with the whole network, differ alike: it is told once.
static void of_replicas_is_told_once(void **state)
{
	const struct job_kernel a[2] = {{0, "convolution-forward/a", "direct"}, {0, "convolution-forward/a", "direct"}};
	const struct job_kernel b[2] = {{0, "convolution-forward/a", "winograd"},
					{0, "convolution-forward/a", "winograd"}};
	const char *machines[2] = {here, here};
	struct kernel_list reference = make(2, machines, a), pipeline = make(2, machines, b);
	struct kernel_difference differences[4];
	assert_int_equal(kernels_compare(&reference, &pipeline, 2, differences, 4), 1);
	kernels_fini(&reference);
	kernels_fini(&pipeline);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_the_same_kernels_is_nothing),
		cmocka_unit_test(of_another_kernel_names_layer_and_both),
		cmocka_unit_test(of_another_question_names_both_sides),
		cmocka_unit_test(of_another_machine_is_a_difference),
		cmocka_unit_test(of_replicas_is_told_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
