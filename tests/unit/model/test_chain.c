// model_from_graph refuses what is no chain, by the operation's name.
#include "tests/unit/graph/residual.h"

#include <string.h>

#include "common/model/model.h"

static void expect_refused(struct graph *graph, const char *text)
{
	struct model model;
	struct error error = {0};
	assert_true(graph_check(graph, &error));
	if (model_from_graph(graph, &model, &error))
		fail_msg("taken, expected \"%s\"", text);
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.message, text);
	graph_destroy(graph);
}

static void from_graph_names_where_the_residual_begins(void **state)
{
	expect_refused(residual_create(), "operation 1, conv1 (Conv2d): this version runs chains");
}

// images, an operation with `kind`, then to the loss.
static struct graph *chain(const struct builder_operation *operation)
{
	struct builder *b = NULL;
	struct graph *graph = NULL;
	struct error error = {0};
	const uint32_t dims[3] = {3, 16, 16};
	assert_true(builder_create("chain", &b, &error));
	uint32_t labels = builder_input(b, "labels", VALUE_INT32, 0, dims);
	struct builder_operation first = *operation;
	first.name = "first";
	first.input_count = 1;
	first.inputs[0] = builder_input(b, "images", VALUE_COMPUTE, 3, dims);
	uint32_t x = builder_flatten(b, "flatten", builder_add(b, &first));
	uint32_t features = builder_value(b, x)->dims[0];
	x = builder_linear(b, "fc", x, 10, initializer_default(features), initializer_default(features));
	builder_cross_entropy(b, "loss", x, labels);
	if (!builder_finish(b, &graph, &error))
		fail_msg("%s", error.message);
	return graph;
}

static void from_graph_refuses_kinds_and_attributes(void **state)
{
	static const struct {
		struct builder_operation operation;
		const char *text;
	} cases[] = {
		{{.kind = OPERATION_GELU}, "operation 0, first (GELU): this version does not compute this kind"},
		{{.kind = OPERATION_MAX_POOL, .attributes.pool = {.window = {{3, 3}, {2, 2}, {1, 1}, {1, 1}}}},
		 "operation 0, first (MaxPool2d): this version computes square windows without padding"},
		{{.kind = OPERATION_MAX_POOL, .attributes.pool = {.window = {{3, 2}, {2, 2}, {0, 0}, {1, 1}}}},
		 "square windows"},
		{{.kind = OPERATION_MAX_POOL,
		  .attributes.pool = {.window = {{3, 3}, {2, 2}, {0, 0}, {1, 1}}, .ceil_mode = true}},
		 "ceil mode"},
		{{.kind = OPERATION_ADAPTIVE_AVERAGE_POOL, .attributes.adaptive_pool = {{2, 3}}}, "square outputs"},
		{{.kind = OPERATION_FLATTEN, .attributes.flatten = {1, 3}}, "flattens all dimensions"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_refused(chain(&cases[i].operation), cases[i].text);
}

static void from_graph_refuses_another_loss_and_initial_values(void **state)
{
	const struct builder_operation relu = {.kind = OPERATION_RELU};
	struct graph *graph = chain(&relu);
	graph->operations[graph->loss].attributes.cross_entropy.label_smoothing = 0.1f;
	expect_refused(graph, "operation 3, loss (CrossEntropyLoss): this version computes the loss of one class");
	graph = chain(&relu);
	graph->parameters[0].initializer = initializer_normal(0.02f);
	expect_refused(graph, "operation 2, fc (Linear): this version cannot draw its initial bias");
	graph = chain(&relu);
	graph->parameters[0].initializer = initializer_normal(0.02f);
	graph->parameters[1].initializer = initializer_constant(0);
	expect_refused(graph, "operation 2, fc (Linear): this version cannot draw its initial weight");
	graph = chain(&relu);
	strcpy(graph->parameters[0].name, "w");
	expect_refused(graph, "operation 2, fc (Linear): w must be named fc.weight");
	graph = chain(&relu);
	strcpy(graph->operations[0].name, "a.name.that.is.longer.than.a.layers");
	expect_refused(graph, "a.name.that.is.longer.than.a.layers (ReLU): its name is longer than 31");
}

static void from_graph_takes_a_chain(void **state)
{
	const struct builder_operation relu = {.kind = OPERATION_RELU};
	struct graph *graph = chain(&relu);
	struct model model;
	struct error error = {0};
	assert_true(model_from_graph(graph, &model, &error));
	assert_int_equal(model.layer_count, 3);
	assert_int_equal(model.image_size, 16);
	assert_int_equal(model.classes, 10);
	assert_int_equal(model.layers[2].kind, LAYER_LINEAR);
	assert_int_equal(model.layers[2].initializer, INITIALIZER_PYTORCH_DEFAULT);
	graph_destroy(graph);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_graph_names_where_the_residual_begins),
		cmocka_unit_test(from_graph_refuses_kinds_and_attributes),
		cmocka_unit_test(from_graph_refuses_another_loss_and_initial_values),
		cmocka_unit_test(from_graph_takes_a_chain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
