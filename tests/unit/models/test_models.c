// The built-in networks as graphs: the same names, shapes, FLOPs and initial values, bit for bit, as the chain has that devices run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/graph/graph.h"
#include "coordinator/models/models.h"

static const char *const networks[] = {"alexnet", "vgg11", "vgg13", "vgg16", "vgg19"};
enum { NETWORKS = 5 };

static void create(const char *name, struct graph **ret_graph, struct model *ret_model)
{
	struct error error = {0};
	if (!models_create_graph(name, 64, 10, -1, ret_graph, &error) ||
	    !model_from_graph(*ret_graph, ret_model, &error))
		fail_msg("%s", error.message);
}

static void graphs_have_the_chains_operations(void **state)
{
	for (int n = 0; n < NETWORKS; n++) {
		struct graph *graph = NULL;
		struct model model;
		create(networks[n], &graph, &model);
		assert_string_equal(graph->name, networks[n]);
		assert_int_equal(graph->operation_count, model.layer_count + 1);
		for (uint32_t i = 0; i < model.layer_count; i++) {
			const struct operation *operation = &graph->operations[i];
			struct operation_flops flops;
			operation_flops(graph, i, &flops);
			assert_string_equal(operation->name, model.layers[i].name);
			assert_string_equal(operation_kind_name(operation->kind),
					    layer_kind_name(model.layers[i].kind));
			assert_true(flops.forward == layer_forward_flops(&model.layers[i]));
			assert_true(flops.backward_input + flops.backward_weight ==
				    layer_backward_flops(&model.layers[i]));
			assert_true(value_elements(&graph->values[operation->outputs[0]]) ==
				    shape_count(model.layers[i].output));
		}
		assert_true(graph_parameter_elements(graph, 2, 9) == model_parameter_floats(&model, 2, 9));
		graph_destroy(graph);
	}
}

static void graphs_draw_the_chains_parameters(void **state)
{
	for (int n = 0; n < 2; n++) {
		struct graph *graph = NULL;
		struct model model;
		create(networks[n], &graph, &model);
		assert_int_equal(graph->parameter_count, model_parameter_count(&model));
		for (uint32_t i = 0; i < graph->parameter_count; i++) {
			const struct tensor *tensor = &graph->parameters[i];
			struct parameter parameter;
			model_parameter(&model, i, &parameter);
			assert_string_equal(tensor->name, parameter.name);
			assert_int_equal(tensor->rank, parameter.rank);
			assert_memory_equal(tensor->dims, parameter.dimensions, parameter.rank * sizeof(uint32_t));
			assert_true(tensor_elements(tensor) == parameter.count);
			if (parameter.count > 1u << 25)
				continue; // 100 million draws more show nothing new
			float *a = malloc(parameter.count * sizeof(*a)), *b = malloc(parameter.count * sizeof(*b));
			assert_true(a != NULL && b != NULL);
			tensor_draw(tensor, 7, a);
			model_draw_parameter(&model, &parameter, 7, b);
			assert_memory_equal(a, b, parameter.count * sizeof(*a));
			free(a);
			free(b);
		}
		graph_destroy(graph);
	}
}

static void graph_refuses_what_the_chain_refused(void **state)
{
	struct graph *graph = NULL;
	struct error error = {0};
	assert_false(models_create_graph("alexnet", 62, 10, -1, &graph, &error));
	assert_non_null(strstr(error.message, "alexnet takes images of 63 x 63 pixels at least and 1024 x 1024"));
	assert_false(models_create_graph("vgg16", 0, 10, -1, &graph, &error));
	assert_non_null(strstr(error.message, "vgg16 takes images of 32 x 32 pixels at least"));
	assert_false(models_create_graph("alexnet", 64, 65537, -1, &graph, &error));
	assert_false(models_create_graph("alexnet", 64, 10, 1, &graph, &error));
	assert_false(models_create_graph("alexnett", 64, 10, -1, &graph, &error));
	assert_non_null(strstr(error.message, "did you mean alexnet?"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(graphs_have_the_chains_operations),
		cmocka_unit_test(graphs_draw_the_chains_parameters),
		cmocka_unit_test(graph_refuses_what_the_chain_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
