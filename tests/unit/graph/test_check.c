// graph_check as the gate for a graph that a peer wrote: each thing that can be wrong is, one at a time, and the message names it.
#include "tests/unit/graph/residual.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/random.h"

static struct graph *graph;

static int begin(void **state)
{
	graph = residual_create();
	return 0;
}

static int end(void **state)
{
	graph_destroy(graph);
	return 0;
}

static void expect_refused(const char *text)
{
	struct error error = {0};
	if (graph_check(graph, &error))
		fail_msg("taken, expected \"%s\"", text);
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.message, text);
	end(NULL);
	begin(NULL);
}

static void check_again_changes_nothing(void **state)
{
	struct graph *copy = NULL;
	struct error error = {0};
	assert_true(graph_copy(graph, &copy, &error));
	assert_true(graph_check(copy, &error));
	assert_memory_equal(copy->values, graph->values, graph->value_count * sizeof(graph->values[0]));
	assert_memory_equal(copy->uses, graph->uses, graph->use_count * sizeof(graph->uses[0]));
	assert_memory_equal(copy->parameters, graph->parameters, graph->parameter_count * sizeof(graph->parameters[0]));
	graph_destroy(copy);
}

static void create_counts_are_limited(void **state)
{
	struct graph *made = NULL;
	struct error error = {0};
	static const uint32_t bad[][5] = {
		{0, 1, 0, 0, 0},
		{GRAPH_MAXIMUM_OPERATIONS + 1, 1, 0, 0, 0},
		{1, 0, 0, 0, 0},
		{1, GRAPH_MAXIMUM_VALUES + 1, 0, 0, 0},
		{1, 1, GRAPH_MAXIMUM_TENSORS + 1, 0, 0},
		{1, 1, 0, UINT32_MAX, 0},
		{1, 1, 0, 0, UINT32_MAX},
	};
	static const char *const words[] = {"0 operations", "4097 operations", "0 values", "8193 values",
					    "parameters",   "buffers",         "groups"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(graph_create(bad[i][0], bad[i][1], bad[i][2], bad[i][3], bad[i][4], &made, &error));
		assert_int_equal(error.code, ERROR_USAGE);
		assert_non_null(strstr(error.message, words[i]));
	}
}

static void check_names(void **state)
{
	strcpy(graph->operations[CONV1].name, "stem");
	expect_refused("two operations are named stem");
	strcpy(graph->values[OF_CONV1].name, "images");
	expect_refused("two values are named images");
	strcpy(graph->parameters[2].name, "stem.weight");
	expect_refused("are named stem.weight");
	strcpy(graph->operations[CONV2].name, "a/b");
	expect_refused("operation 3: its name is not");
	graph->values[OF_ADD].name[0] = '\0';
	expect_refused("value 6: its name is not");
	memset(graph->parameters[0].name, 'x', sizeof(graph->parameters[0].name));
	expect_refused("parameter or buffer 0: its name is not");
	strcpy(graph->name, "a b");
	expect_refused("the model's name is not");
}

static void check_kinds_and_counts(void **state)
{
	graph->operations[RELU1].kind = OPERATION_KIND_END;
	expect_refused("operation 2, relu1 (unknown): unknown kind 23");
	graph->operations[RELU1].kind = (enum operation_kind) - 1;
	expect_refused("relu1 (unknown): unknown kind");
	graph->operations[ADD].input_count = 1;
	expect_refused("operation 4, add (add): has 1 inputs, must have 2");
	graph->operations[ADD].input_count = UINT32_MAX;
	expect_refused("inputs, must have 2");
	graph->operations[CONV1].parameter_count = 0;
	expect_refused("conv1 (Conv2d): has 0 parameters, must have 1 to 2");
	graph->operations[CONV1].parameter_count = 3;
	expect_refused("has 3 parameters");
	graph->operations[CONV1].output_count = 2;
	expect_refused("input 0, images, is not made by an earlier operation");
	graph->operations[RELU1].buffer_count = 2;
	expect_refused("relu1 (ReLU): has 2 buffers, must have 0");
}

static void check_ids(void **state)
{
	graph->operations[CONV1].inputs[0] = OF_RELU1;
	expect_refused("operation 1, conv1 (Conv2d): input 0, relu1, is not made by an earlier operation: the graph "
		       "has a cycle");
	graph->operations[CONV1].inputs[0] = OF_CONV1;
	expect_refused("input 0, conv1, is not made by an earlier operation");
	graph->operations[CONV1].inputs[0] = 999;
	expect_refused("conv1 (Conv2d): input 0 is value 999, of 12");
	graph->operations[CONV1].outputs[0] = UINT32_MAX;
	expect_refused("output 0 is value 4294967295, of 12");
	graph->operations[CONV1].outputs[0] = OF_STEM;
	expect_refused("output 0 is value 2, must be 3");
	graph->operations[CONV1].parameters[0] = 77;
	expect_refused("parameter 0 is number 77, of 8");
	graph->operations[CONV1].parameters[0] = 4;
	expect_refused("parameter 0 is number 4, must be 2");
	graph->operations[RELU1].inputs[0] = OF_STEM;
	expect_refused("operation 1, conv1 (Conv2d): no operation uses its output conv1");
	graph->operations[ADD].inputs[1] = LABELS;
	expect_refused("add (add): takes real numbers, but its input labels holds whole numbers");
}

static void check_shapes(void **state)
{
	graph->operations[CONV1].attributes.convolution.groups = 3;
	expect_refused("conv1 (Conv2d): 3 groups do not divide 8 channels into 8");
	graph->operations[CONV1].attributes.convolution.groups = 0;
	expect_refused("0 groups");
	graph->operations[CONV1].attributes.convolution.window.stride[1] = 0;
	expect_refused("conv1 (Conv2d): stride is 0");
	graph->operations[CONV1].attributes.convolution.window.padding[0] = 3;
	expect_refused("padding is 3, must be below 3");
	graph->operations[CONV1].attributes.convolution.window.dilation[0] = 9;
	expect_refused("a window of 19 does not fit an input of 16 with padding 1");
	graph->operations[CONV1].attributes.convolution.window.kernel[0] = 5;
	expect_refused("conv1 (Conv2d): conv1.weight has the shape (8, 8, 3, 3), must have (8, 8, 5, 3)");
	graph->parameters[3].dims[0] = 9;
	expect_refused("conv1.bias has the shape (9), must have (8)");
	graph->operations[CONV1].attributes.convolution.window.stride[0] = 2;
	expect_refused("operation 4, add (add): its inputs must have one shape: conv2 has (8, 8, 16) per sample, stem "
		       "has (8, 16, 16)");
	graph->operations[FLATTEN].attributes.flatten.end = 4;
	expect_refused("flatten (Flatten): flattens dimensions [0, 4) of an input of 3");
	graph->operations[POOL].attributes.adaptive_pool.output[1] = 2;
	expect_refused("fc (Linear): fc.weight has the shape (10, 8), must have (10, 16)");
	graph->operations[POOL].attributes.adaptive_pool.output[1] = 1u << 27;
	expect_refused("pool (AdaptiveAvgPool2d): gives (8, 1, 134217728) per sample");
	graph->operations[LOSS].attributes.cross_entropy.label_smoothing = NAN;
	expect_refused("loss (CrossEntropyLoss): label_smoothing");
	graph->values[LABELS].rank = 1;
	graph->values[LABELS].dims[0] = 4;
	expect_refused(
		"loss (CrossEntropyLoss): takes samples of (..., classes) and (...), but fc has (10) and labels has (");
}

static void check_inputs_and_tensors(void **state)
{
	graph->values[IMAGES].dims[2] = 0;
	expect_refused("input images: a dimension is 0");
	graph->values[IMAGES].rank = 7;
	expect_refused("input images: 7 dimensions");
	graph->values[IMAGES].type = 9;
	expect_refused("input images: unknown type 9");
	graph->values[IMAGES].dims[0] = graph->values[IMAGES].dims[1] = 1u << 28;
	expect_refused("input images: over");
	graph->parameters[0].rank = 5;
	expect_refused("parameter stem.weight: the number of dimensions is 5");
	graph->parameters[0].dims[1] = graph->parameters[0].dims[2] = 1u << 28;
	expect_refused("parameter stem.weight: has over");
	graph->parameters[0].initializer.kind = 4;
	expect_refused("parameter stem.weight: unknown initializer 4");
	graph->parameters[0].initializer.scale = INFINITY;
	expect_refused("parameter stem.weight: its initializer's scale is inf");
}

static void check_ends_with_one_loss(void **state)
{
	graph->operation_count--;
	graph->value_count -= 2;
	expect_refused("operation 7, fc (Linear): the last operation must be a loss");
}

static void check_groups(void **state)
{
	static const struct group bad[] = {{3, 3}, {5, 4}, {8, 10}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		graph->group_count = 1;
		graph->groups[0] = bad[i];
		expect_refused("group 0 is operations");
	}
}

// The numbers that a peer chooses, of one operation, parameter and input each.
static uint32_t list_fields(uint32_t i, uint32_t *ret_fields[64])
{
	struct operation *operation = &graph->operations[i % graph->operation_count];
	struct tensor *tensor = &graph->parameters[i % graph->parameter_count];
	struct value *value = &graph->values[i % graph->input_count];
	uint32_t *const fields[] = {
		(uint32_t *)&operation->kind,
		&operation->input_count,
		&operation->output_count,
		&operation->parameter_count,
		&operation->buffer_count,
		&operation->inputs[0],
		&operation->inputs[1],
		&operation->outputs[0],
		&operation->outputs[1],
		&operation->parameters[0],
		&operation->parameters[1],
		(uint32_t *)&tensor->initializer.kind,
		&tensor->rank,
		&tensor->dims[0],
		&tensor->dims[1],
		&tensor->dims[3],
		(uint32_t *)&value->type,
		&value->rank,
		&value->dims[0],
		&value->dims[2],
	};
	uint32_t count = 0;
	for (size_t k = 0; k < sizeof(fields) / sizeof(fields[0]); k++)
		ret_fields[count++] = fields[k];
	for (uint32_t k = 0; operation->kind == OPERATION_CONVOLUTION && k < sizeof(struct window) / 4; k++)
		ret_fields[count++] = &operation->attributes.convolution.window.kernel[0] + k;
	return count;
}

// Whatever the fields hold, the gate neither crashes nor reads out of bounds; a sanitizer's build watches.
static void check_survives_any_field(void **state)
{
	struct error error = {0};
	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t words[4], *fields[64];
		random_block(random_key_make(7, RANDOM_DATASET, 0), i, 0, words);
		uint32_t *field = fields[words[0] % list_fields(words[1], fields)], before = *field;
		*field = words[3] % 3 == 0 ? words[2] : words[2] % 12;
		graph_check(graph, &error);
		*field = before;
	}
	if (!graph_check(graph, &error))
		fail_msg("%s", error.message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(check_again_changes_nothing, begin, end),
		cmocka_unit_test(create_counts_are_limited),
		cmocka_unit_test_setup_teardown(check_names, begin, end),
		cmocka_unit_test_setup_teardown(check_kinds_and_counts, begin, end),
		cmocka_unit_test_setup_teardown(check_ids, begin, end),
		cmocka_unit_test_setup_teardown(check_shapes, begin, end),
		cmocka_unit_test_setup_teardown(check_inputs_and_tensors, begin, end),
		cmocka_unit_test_setup_teardown(check_ends_with_one_loss, begin, end),
		cmocka_unit_test_setup_teardown(check_groups, begin, end),
		cmocka_unit_test_setup_teardown(check_survives_any_field, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
