// Shapes, FLOPs and what is kept, of every kind: by the formulas of PyTorch's documentation.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/graph/builder.h"
#include "common/graph/rules.h"

static const struct initializer zero = {INITIALIZER_CONSTANT, 0};

static struct builder *begin(void)
{
	struct builder *builder = NULL;
	struct error error = {0};
	if (!builder_create("test", &builder, &error))
		fail_msg("%s", error.message);
	return builder;
}

static uint32_t input(struct builder *builder, const char *name, enum value_type type, uint32_t rank, uint32_t a,
		      uint32_t b, uint32_t c)
{
	const uint32_t dims[3] = {a, b, c};
	return builder_input(builder, name, type, rank, dims);
}

static uint32_t image(struct builder *builder, uint32_t channels, uint32_t height, uint32_t width)
{
	return input(builder, "x", VALUE_COMPUTE, 3, channels, height, width);
}

static uint32_t apply(struct builder *builder, enum operation_kind kind, uint32_t x, union attributes attributes)
{
	const struct builder_operation operation = {
		.kind = kind, .name = "op", .attributes = attributes, .input_count = 1, .inputs = {x}};
	return builder_add(builder, &operation);
}

static void expect_dims(const struct builder *builder, uint32_t value, const char *dims)
{
	char text[DIMS_TEXT_SIZE];
	const struct value *at = builder_value(builder, value);
	assert_string_equal(value_format_dims(at->rank, at->dims, text, sizeof(text)), dims);
}

// Ends the graph with a loss over all its elements, and checks it whole.
static struct graph *finish(struct builder *builder, uint32_t value)
{
	struct graph *graph = NULL;
	struct error error = {0};
	if (builder_value(builder, value)->rank > 1)
		value = builder_flatten(builder, "flatten", value);
	builder_cross_entropy(builder, "loss", value, 0);
	if (!builder_finish(builder, &graph, &error))
		fail_msg("%s", error.message);
	return graph;
}

static void window_positions_are_pytorchs(void **state)
{
	static const struct {
		uint32_t size, kernel, stride, padding, dilation, floor, ceil;
	} cases[] = {
		{224, 11, 4, 2, 1, 55, 56}, {55, 3, 2, 0, 1, 27, 27}, {32, 3, 1, 1, 1, 32, 32},
		{112, 3, 2, 1, 1, 56, 57},  {7, 3, 2, 0, 2, 2, 2},    {4, 2, 3, 1, 1, 2, 2},
		{5, 3, 3, 1, 1, 2, 2},      {6, 2, 4, 1, 1, 2, 2},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct window window = {
			{cases[i].kernel, 1}, {cases[i].stride, 1}, {cases[i].padding, 0}, {cases[i].dilation, 1}};
		uint32_t floor = 0, ceil = 0;
		struct error error = {0};
		assert_true(rules_window_positions(&window, 0, cases[i].size, false, &floor, &error));
		assert_true(rules_window_positions(&window, 0, cases[i].size, true, &ceil, &error));
		assert_int_equal(floor, cases[i].floor);
		assert_int_equal(ceil, cases[i].ceil);
	}
}

static void convolution_groups_and_dilation(void **state)
{
	struct builder *builder = begin();
	input(builder, "labels", VALUE_INT32, 0, 0, 0, 0);
	uint32_t x = image(builder, 32, 20, 24);
	uint32_t y = builder_convolution(builder, "conv", x,
					 &(struct builder_convolution){.channels = 64,
								       .kernel = 3,
								       .stride = 2,
								       .padding = 2,
								       .groups = 4,
								       .dilation = 2,
								       .no_bias = true,
								       .weight = initializer_default(72)});
	expect_dims(builder, y, "(64, 10, 12)");
	struct graph *graph = finish(builder, y);
	struct operation_flops flops;
	operation_flops(graph, 0, &flops);
	assert_true(flops.forward == 2ull * 64 * 10 * 12 * 8 * 9);
	assert_true(flops.backward_input == flops.forward && flops.backward_weight == flops.forward);
	assert_true(graph_parameter_elements(graph, 0, graph->operation_count) == 64 * 8 * 9);
	assert_int_equal(graph->parameter_count, 1);
	assert_string_equal(graph->parameters[0].name, "conv.weight");
	graph_destroy(graph);
}

static void pools(void **state)
{
	struct builder *builder = begin();
	uint32_t x = image(builder, 64, 112, 112);
	expect_dims(builder, builder_max_pool(builder, "a", x, 3, 2, 1), "(64, 56, 56)");
	union attributes ceil = {
		.pool = {.window = {{3, 2}, {2, 2}, {0, 0}, {1, 1}}, .ceil_mode = true, .count_padding = true}};
	expect_dims(builder, apply(builder, OPERATION_AVERAGE_POOL, x, ceil), "(64, 56, 56)");
	expect_dims(builder, builder_adaptive_average_pool(builder, "c", x, 7), "(64, 7, 7)");
	builder_destroy(builder);
}

static void normalisation_keeps_statistics(void **state)
{
	struct builder *builder = begin();
	input(builder, "labels", VALUE_INT32, 0, 0, 0, 0);
	uint32_t x = image(builder, 16, 8, 8);
	uint32_t y = builder_layer_norm(builder, "ln", builder_batch_norm(builder, "bn", x), 1e-5f);
	expect_dims(builder, y, "(16, 8, 8)");
	struct graph *graph = finish(builder, y);
	struct operation_kept kept;
	operation_kept(graph, 0, &kept);
	assert_true(kept.statistics_elements == 32 && !kept.statistics_are_per_sample);
	operation_kept(graph, 1, &kept);
	assert_true(kept.statistics_elements == 2 * 16 * 8 && kept.statistics_are_per_sample);
	static const char *const names[] = {"bn.weight", "bn.bias", "ln.weight", "ln.bias"};
	for (int i = 0; i < 4; i++)
		assert_string_equal(graph->parameters[i].name, names[i]);
	assert_int_equal(graph->buffer_count, 2);
	assert_string_equal(graph->buffers[1].name, "bn.running_var");
	graph_destroy(graph);
}

static void shapes_move_no_element(void **state)
{
	struct builder *builder = begin();
	uint32_t x = image(builder, 6, 8, 10);
	union attributes flatten = {.flatten = {1, 3}}, permute = {.permute = {{2, 0, 1}}};
	union attributes reshape = {.reshape = {4, {2, 3, 8, 10}}};
	expect_dims(builder, apply(builder, OPERATION_FLATTEN, x, flatten), "(6, 80)");
	expect_dims(builder, apply(builder, OPERATION_PERMUTE, x, permute), "(10, 6, 8)");
	expect_dims(builder, apply(builder, OPERATION_RESHAPE, x, reshape), "(2, 3, 8, 10)");
	struct builder_operation split = {.kind = OPERATION_SPLIT,
					  .name = "split",
					  .attributes.axis = {1},
					  .input_count = 1,
					  .output_count = 4,
					  .inputs = {x}};
	uint32_t first = builder_add(builder, &split);
	for (uint32_t i = 0; i < 4; i++)
		expect_dims(builder, first + i, "(6, 2, 10)");
	assert_string_equal(builder_value(builder, first + 3)->name, "split.3");
	builder_destroy(builder);
}

static void matmul_counts_both_gradients(void **state)
{
	struct builder *builder = begin();
	input(builder, "labels", VALUE_INT32, 0, 0, 0, 0);
	uint32_t a = input(builder, "a", VALUE_COMPUTE, 3, 2, 3, 5), b = input(builder, "b", VALUE_COMPUTE, 3, 2, 5, 7);
	struct builder_operation matmul = {.kind = OPERATION_MATMUL, .name = "mm", .input_count = 2, .inputs = {a, b}};
	uint32_t y = builder_add(builder, &matmul);
	expect_dims(builder, y, "(2, 3, 7)");
	struct graph *graph = finish(builder, y);
	struct operation_flops flops;
	operation_flops(graph, 0, &flops);
	assert_true(flops.forward == 2 * 2 * 3 * 5 * 7 && flops.backward_input == 2 * flops.forward);
	graph_destroy(graph);
}

// GPT-2 small's block over 256 tokens: PyTorch's counter has 4 products of t * t * 768 ahead and 10 back.
static void attention_counts_as_pytorch(void **state)
{
	struct builder *builder = begin();
	input(builder, "labels", VALUE_INT32, 0, 0, 0, 0);
	uint32_t q = input(builder, "q", VALUE_COMPUTE, 3, 12, 256, 64);
	uint32_t k = input(builder, "k", VALUE_COMPUTE, 3, 12, 256, 64);
	uint32_t v = input(builder, "v", VALUE_COMPUTE, 3, 12, 256, 64);
	struct builder_operation attention = {.kind = OPERATION_ATTENTION,
					      .name = "attn",
					      .attributes.attention = {true, 0, 0.1f},
					      .input_count = 3,
					      .inputs = {q, k, v}};
	uint32_t y = builder_add(builder, &attention);
	expect_dims(builder, y, "(12, 256, 64)");
	struct graph *graph = finish(builder, y);
	struct operation_flops flops;
	struct operation_kept kept;
	operation_flops(graph, 0, &flops);
	operation_kept(graph, 0, &kept);
	assert_true(flops.forward == 4ull * 256 * 256 * 768 && flops.backward_input == 10ull * 256 * 256 * 768);
	assert_true(kept.statistics_elements == 12 * 256 && kept.mask_elements == 12 * 256 * 256);
	graph_destroy(graph);
}

static void tokens_become_a_loss(void **state)
{
	struct builder *builder = begin();
	const uint32_t words[2] = {1000, 32}, positions[2] = {64, 32};
	uint32_t tokens = input(builder, "tokens", VALUE_INT32, 1, 16, 0, 0);
	uint32_t targets = input(builder, "targets", VALUE_INT32, 1, 16, 0, 0);
	struct builder_operation wte = {
		.kind = OPERATION_EMBEDDING, .name = "wte", .input_count = 1, .inputs = {tokens}, .parameter_count = 1};
	struct builder_operation wpe = {.kind = OPERATION_POSITION_EMBEDDING,
					.name = "wpe",
					.input_count = 1,
					.inputs = {tokens},
					.parameter_count = 1};
	wte.parameters[0] = builder_parameter(builder, "wte.weight", 2, words, initializer_normal(0.02f));
	wpe.parameters[0] = builder_parameter(builder, "wpe.weight", 2, positions, initializer_normal(0.02f));
	uint32_t a = builder_add(builder, &wte), b = builder_add(builder, &wpe);
	uint32_t x = builder_sum(builder, "add", a, b);
	expect_dims(builder, x, "(16, 32)");
	struct builder_operation head = {.kind = OPERATION_LINEAR,
					 .name = "lm_head",
					 .input_count = 1,
					 .inputs = {x},
					 .parameter_count = 1,
					 .parameters = {wte.parameters[0]}};
	uint32_t logits = builder_add(builder, &head);
	expect_dims(builder, logits, "(16, 1000)");
	builder_cross_entropy(builder, "loss", logits, targets);
	struct graph *graph = NULL;
	struct error error = {0};
	if (!builder_finish(builder, &graph, &error))
		fail_msg("%s", error.message);
	assert_int_equal(graph->input_count, 2);
	assert_int_equal(graph->loss, 4);
	assert_int_equal(graph->parameters[0].use_count, 2);
	const struct use *uses = &graph->uses[graph->parameters[0].first_use];
	assert_true(uses[0].operation == 0 && uses[1].operation == 3);
	assert_true(graph_parameter_elements(graph, 0, 5) == 1000 * 32 + 64 * 32);
	assert_true(graph_parameter_elements(graph, 3, 5) == 1000 * 32);
	const struct value *loss = &graph->values[graph->operations[4].outputs[0]];
	assert_true(loss->type == VALUE_FLOAT32 && !loss->per_sample && loss->rank == 0);
	graph_destroy(graph);
}

static void linear_takes_the_transposed_weight_of_gpt2(void **state)
{
	struct builder *builder = begin();
	const uint32_t dims[2] = {32, 96}, length = 96;
	uint32_t x = input(builder, "x", VALUE_COMPUTE, 2, 16, 32, 0);
	struct builder_operation linear = {.kind = OPERATION_LINEAR,
					   .name = "c_attn",
					   .attributes.linear = {true},
					   .input_count = 1,
					   .inputs = {x},
					   .parameter_count = 2};
	linear.parameters[0] = builder_parameter(builder, "c_attn.weight", 2, dims, zero);
	linear.parameters[1] = builder_parameter(builder, "c_attn.bias", 1, &length, zero);
	expect_dims(builder, builder_add(builder, &linear), "(16, 96)");
	builder_destroy(builder);
}

static void every_kind_has_a_row(void **state)
{
	for (uint32_t kind = 1; kind < OPERATION_KIND_END; kind++) {
		const struct operation_rules *rules = operation_rules((enum operation_kind)kind);
		assert_non_null(rules);
		assert_non_null(rules->infer);
		assert_true(rules->maximum_inputs <= OPERATION_MAXIMUM_INPUTS &&
			    rules->maximum_outputs <= OPERATION_MAXIMUM_OUTPUTS &&
			    rules->maximum_parameters <= OPERATION_MAXIMUM_PARAMETERS &&
			    rules->buffers <= OPERATION_MAXIMUM_BUFFERS);
	}
	assert_null(operation_rules(0));
	assert_null(operation_rules(OPERATION_KIND_END));
	assert_string_equal(operation_kind_name(OPERATION_KIND_END), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_positions_are_pytorchs),
		cmocka_unit_test(convolution_groups_and_dilation),
		cmocka_unit_test(pools),
		cmocka_unit_test(normalisation_keeps_statistics),
		cmocka_unit_test(shapes_move_no_element),
		cmocka_unit_test(matmul_counts_both_gradients),
		cmocka_unit_test(attention_counts_as_pytorch),
		cmocka_unit_test(tokens_become_a_loss),
		cmocka_unit_test(linear_takes_the_transposed_weight_of_gpt2),
		cmocka_unit_test(every_kind_has_a_row),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
