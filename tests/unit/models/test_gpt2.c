// GPT-2 against Hugging Face: parameters of the published model, names of GPT2LMHeadModel's state_dict, initial values, FLOPs by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/graph/boundary.h"
#include "common/graph/tensor.h"
#include "coordinator/models/gpt2.h"

static struct graph *create(const struct gpt2_options *options)
{
	struct graph *graph = NULL;
	struct error error = {0};
	if (!gpt2_create_graph("gpt2", options, &graph, &error))
		fail_msg("%s", error.message);
	return graph;
}

static void small_has_the_published_parameters(void **state)
{
	struct graph *graph = create(&gpt2_small);
	assert_true(graph_parameter_elements(graph, 0, graph->operation_count) == 124439808);
	assert_int_equal(graph->parameter_count, 148);
	graph_destroy(graph);
}

static void small_counts_products_of_weights_and_of_attention(void **state)
{
	struct gpt2_options options = gpt2_small;
	options.tokens = 256;
	struct graph *graph = create(&options);
	struct operation_flops flops;
	graph_flops(graph, 0, graph->operation_count, &flops);
	uint64_t weights = 12ull * 12 * 768 * 768 + 50257ull * 768, attention = 12ull * 2 * 256 * 768;
	assert_true(flops.forward == 2 * 256 * (weights + attention));
	graph_destroy(graph);
}

static void create_has_hugging_faces_names_in_order(void **state)
{
	static const char *const names[] = {
		"transformer.wte.weight",
		"transformer.wpe.weight",
		"transformer.h.0.ln_1.weight",
		"transformer.h.0.ln_1.bias",
		"transformer.h.0.attn.c_attn.weight",
		"transformer.h.0.attn.c_attn.bias",
		"transformer.h.0.attn.c_proj.weight",
		"transformer.h.0.attn.c_proj.bias",
		"transformer.h.0.ln_2.weight",
		"transformer.h.0.ln_2.bias",
		"transformer.h.0.mlp.c_fc.weight",
		"transformer.h.0.mlp.c_fc.bias",
		"transformer.h.0.mlp.c_proj.weight",
		"transformer.h.0.mlp.c_proj.bias",
		"transformer.h.1.ln_1.weight",
	};
	struct graph *graph = create(&gpt2_tiny);
	for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_string_equal(graph->parameters[i].name, names[i]);
	assert_string_equal(graph->parameters[graph->parameter_count - 1].name, "transformer.ln_f.bias");
	const struct tensor *projection = &graph->parameters[graph_find_parameter(graph, names[6])];
	assert_true(projection->initializer.kind == INITIALIZER_NORMAL &&
		    fabs((double)projection->initializer.scale - 0.02 / sqrt(8)) < 1e-9);
	assert_true(projection->dims[0] == 64 && projection->dims[1] == 64);
	assert_true(graph->parameters[4].dims[0] == 64 && graph->parameters[4].dims[1] == 192);
	graph_destroy(graph);
}

static void create_ties_the_head_to_the_embedding(void **state)
{
	struct graph *graph = create(&gpt2_tiny);
	const struct tensor *words = &graph->parameters[0];
	uint32_t head = graph_find_operation(graph, "lm_head");
	assert_int_equal(words->use_count, 2);
	assert_int_equal(graph->uses[words->first_use].operation, 0);
	assert_int_equal(graph->uses[words->first_use + 1].operation, head);
	assert_int_equal(head + 2, graph->operation_count);
	graph_destroy(graph);
}

// The residual beside at most query, key and value.
static void cuts_cross_at_most_four_values(void **state)
{
	struct graph *graph = create(&gpt2_tiny);
	uint32_t most = 0;
	for (uint32_t position = 1; position < graph->operation_count; position++) {
		struct boundary boundary;
		struct error error = {0};
		assert_true(boundary_find(graph, position, &boundary, &error));
		most = boundary.count > most ? boundary.count : most;
		boundary_free(&boundary);
	}
	assert_int_equal(most, 4);
	graph_destroy(graph);
}

static void create_refuses_heads_and_tokens_that_do_not_fit(void **state)
{
	struct graph *graph = NULL;
	struct error error = {0};
	struct gpt2_options options = gpt2_tiny;
	options.heads = 3;
	assert_false(gpt2_create_graph("gpt2", &options, &graph, &error));
	assert_non_null(strstr(error.message, "3 heads do not divide a width of 64"));
	options = gpt2_tiny;
	options.tokens = 65;
	assert_false(gpt2_create_graph("gpt2", &options, &graph, &error));
	assert_non_null(strstr(error.message, "transformer.wpe (position embedding): 65 tokens, but"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_has_the_published_parameters),
		cmocka_unit_test(small_counts_products_of_weights_and_of_attention),
		cmocka_unit_test(create_has_hugging_faces_names_in_order),
		cmocka_unit_test(create_ties_the_head_to_the_embedding),
		cmocka_unit_test(cuts_cross_at_most_four_values),
		cmocka_unit_test(create_refuses_heads_and_tokens_that_do_not_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
