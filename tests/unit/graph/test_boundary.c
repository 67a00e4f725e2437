// Cuts through a residual connection, by hand.
#include "tests/unit/graph/residual.h"

#include "common/graph/boundary.h"

static void expect_boundary(const struct graph *graph, uint32_t position, uint32_t count, uint32_t a, uint32_t b)
{
	struct boundary boundary;
	struct error error = {0};
	assert_true(boundary_find(graph, position, &boundary, &error));
	assert_int_equal(boundary.count, count);
	if (count > 0)
		assert_int_equal(boundary.values[0], a);
	if (count > 1)
		assert_int_equal(boundary.values[1], b);
	boundary_free(&boundary);
}

static void find_counts_the_residual_beside_the_branch(void **state)
{
	struct graph *graph = residual_create();
	expect_boundary(graph, 0, 0, 0, 0);
	expect_boundary(graph, CONV1, 1, OF_STEM, 0);
	expect_boundary(graph, RELU1, 2, OF_STEM, OF_CONV1);
	expect_boundary(graph, CONV2, 2, OF_STEM, OF_RELU1);
	expect_boundary(graph, ADD, 2, OF_STEM, OF_CONV2);
	expect_boundary(graph, POOL, 1, OF_ADD, 0);
	expect_boundary(graph, LOSS, 1, OF_FC, 0);
	expect_boundary(graph, OPERATIONS, 0, 0, 0);
	graph_destroy(graph);
}

static void crossings_say_what_passes_through(void **state)
{
	struct graph *graph = residual_create();
	struct boundary boundary;
	struct crossing crossings[2];
	struct error error = {0};
	assert_true(boundary_find(graph, RELU1, &boundary, &error));
	boundary_crossings(graph, &boundary, RELU1, ADD, crossings);
	assert_true(crossings[0].value == OF_STEM && !crossings[0].is_used && crossings[0].goes_on);
	assert_true(crossings[1].value == OF_CONV1 && crossings[1].is_used && !crossings[1].goes_on);
	boundary_crossings(graph, &boundary, RELU1, OPERATIONS, crossings);
	assert_true(crossings[0].is_used && !crossings[0].goes_on);
	struct boundary_bytes bytes = boundary_bytes(graph, &boundary, 2);
	assert_true(bytes.forward == 2 * 8 * 16 * 16 * 2 && bytes.backward == bytes.forward);
	assert_true(bytes.forward_whole == 0 && bytes.backward_whole == 0);
	boundary_free(&boundary);
	// The stem's value is used behind the first cut and leaves at the second, too.
	assert_true(boundary_find(graph, CONV1, &boundary, &error));
	boundary_crossings(graph, &boundary, CONV1, CONV2, crossings);
	assert_true(crossings[0].is_used && crossings[0].goes_on);
	boundary_free(&boundary);
	graph_destroy(graph);
}

static void lifetime_ends_with_the_last_use(void **state)
{
	struct graph *graph = residual_create();
	static const struct {
		uint32_t value, first, end;
		struct lifetime expected;
	} cases[] = {
		{OF_STEM, 0, OPERATIONS, {STEM, ADD, true}},      // conv1's weight pass reads it again
		{OF_CONV1, 0, OPERATIONS, {CONV1, RELU1, false}}, // a ReLU reads its output
		{OF_RELU1, 0, OPERATIONS, {RELU1, CONV2, true}},  {OF_CONV2, 0, OPERATIONS, {CONV2, ADD, false}},
		{OF_STEM, RELU1, ADD, {RELU1, ADD, false}}, // passes through
		{OF_STEM, 0, RELU1, {STEM, RELU1, true}},         {IMAGES, 0, OPERATIONS, {STEM, STEM, true}},
		{LABELS, 0, OPERATIONS, {0, LOSS, true}},         {OF_FC, 0, LOSS, {FC, LOSS, false}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lifetime lifetime;
		boundary_lifetime(graph, cases[i].value, cases[i].first, cases[i].end, &lifetime);
		assert_int_equal(lifetime.begin, cases[i].expected.begin);
		assert_int_equal(lifetime.end, cases[i].expected.end);
		assert_int_equal(lifetime.is_kept, cases[i].expected.is_kept);
	}
	graph_destroy(graph);
}

static void can_cut_not_within_a_group(void **state)
{
	struct graph *graph = residual_create();
	for (uint32_t i = 1; i < OPERATIONS; i++)
		assert_true(graph_can_cut(graph, i));
	assert_false(graph_can_cut(graph, 0));
	assert_false(graph_can_cut(graph, OPERATIONS));
	graph->groups[0] = (struct group){CONV1, CONV2};
	graph->group_count = 1;
	assert_true(graph_can_cut(graph, CONV1));
	assert_false(graph_can_cut(graph, RELU1));
	assert_true(graph_can_cut(graph, CONV2));
	graph_destroy(graph);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(find_counts_the_residual_beside_the_branch),
		cmocka_unit_test(crossings_say_what_passes_through),
		cmocka_unit_test(lifetime_ends_with_the_last_use),
		cmocka_unit_test(can_cut_not_within_a_group),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
