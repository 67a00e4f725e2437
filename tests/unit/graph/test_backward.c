// The derived list: the order of sums at fan-out, and that cuts do not change it.
#include "tests/unit/graph/residual.h"

#include <string.h>

#include "common/graph/backward.h"

static void derive_visits_operations_from_the_last(void **state)
{
	struct graph *graph = residual_create();
	struct backward backward;
	struct error error = {0};
	assert_true(backward_derive(graph, 0, OPERATIONS, &backward, &error));
	assert_int_equal(backward.count, OPERATIONS);
	for (uint32_t i = 0; i < OPERATIONS; i++)
		assert_int_equal(backward.steps[i].operation, OPERATIONS - 1 - i);
	const struct backward_step *steps = backward.steps;
	assert_int_equal(steps[OPERATIONS - 1 - LOSS].inputs[0], GRADIENT_WRITE);
	assert_int_equal(steps[OPERATIONS - 1 - LOSS].inputs[1], GRADIENT_NONE); // labels
	assert_int_equal(steps[OPERATIONS - 1 - ADD].inputs[0], GRADIENT_WRITE);
	assert_int_equal(steps[OPERATIONS - 1 - ADD].inputs[1], GRADIENT_WRITE); // the residual's part is first
	assert_int_equal(steps[OPERATIONS - 1 - CONV1].inputs[0], GRADIENT_ADD); // the branch's is added to it
	assert_int_equal(steps[OPERATIONS - 1 - STEM].inputs[0], GRADIENT_NONE); // images
	assert_true(steps[OPERATIONS - 1 - STEM].has_weights);
	assert_false(steps[OPERATIONS - 1 - ADD].has_weights);
	backward_free(&backward);
	graph_destroy(graph);
}

// The lists of the parts, one behind the other, are the list of the whole.
static void derive_is_the_same_wherever_it_is_cut(void **state)
{
	struct graph *graph = residual_create();
	struct backward whole, late, early;
	struct error error = {0};
	assert_true(backward_derive(graph, 0, OPERATIONS, &whole, &error));
	for (uint32_t cut = 1; cut < OPERATIONS; cut++) {
		assert_true(backward_derive(graph, cut, OPERATIONS, &late, &error));
		assert_true(backward_derive(graph, 0, cut, &early, &error));
		assert_int_equal(late.count + early.count, whole.count);
		assert_memory_equal(whole.steps, late.steps, late.count * sizeof(late.steps[0]));
		assert_memory_equal(whole.steps + late.count, early.steps, early.count * sizeof(early.steps[0]));
		backward_free(&late);
		backward_free(&early);
	}
	backward_free(&whole);
	graph_destroy(graph);
}

static void derive_adds_an_operations_later_input_first(void **state)
{
	struct builder *b = NULL;
	struct graph *graph = NULL;
	struct backward backward;
	struct error error = {0};
	const uint32_t dims[1] = {8};
	assert_true(builder_create("twice", &b, &error));
	uint32_t labels = builder_input(b, "labels", VALUE_INT32, 0, dims);
	uint32_t x = builder_input(b, "x", VALUE_COMPUTE, 1, dims);
	x = builder_linear(b, "fc", x, 4, initializer_default(8), initializer_default(8));
	x = builder_sum(b, "double", x, x);
	builder_cross_entropy(b, "loss", x, labels);
	assert_true(builder_finish(b, &graph, &error));
	assert_true(backward_derive(graph, 0, 3, &backward, &error));
	assert_int_equal(backward.steps[1].inputs[1], GRADIENT_WRITE);
	assert_int_equal(backward.steps[1].inputs[0], GRADIENT_ADD);
	backward_free(&backward);
	graph_destroy(graph);
}

// Before the first parameter there is nothing to compute.
static void derive_leaves_out_what_has_no_gradient(void **state)
{
	struct builder *b = NULL;
	struct graph *graph = NULL;
	struct backward backward;
	struct error error = {0};
	const uint32_t dims[3] = {3, 8, 8};
	assert_true(builder_create("pool", &b, &error));
	uint32_t labels = builder_input(b, "labels", VALUE_INT32, 0, dims);
	uint32_t x = builder_max_pool(b, "pool", builder_input(b, "images", VALUE_COMPUTE, 3, dims), 2, 2, 0);
	x = builder_linear(b, "fc", builder_flatten(b, "flatten", x), 4, initializer_default(48),
			   initializer_default(48));
	builder_cross_entropy(b, "loss", x, labels);
	assert_true(builder_finish(b, &graph, &error));
	assert_true(backward_derive(graph, 0, 4, &backward, &error));
	assert_int_equal(backward.count, 2);
	assert_int_equal(backward.steps[1].operation, 2);
	assert_int_equal(backward.steps[1].inputs[0], GRADIENT_NONE);
	backward_free(&backward);
	graph_destroy(graph);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(derive_visits_operations_from_the_last),
		cmocka_unit_test(derive_is_the_same_wherever_it_is_cut),
		cmocka_unit_test(derive_adds_an_operations_later_input_first),
		cmocka_unit_test(derive_leaves_out_what_has_no_gradient),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
