// ResNet against torchvision: parameters as its pages publish them, FLOPs of one sample by torch.utils.flop_counter, names of its state_dict.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/graph/boundary.h"
#include "common/model/model.h"
#include "coordinator/models/models.h"

static struct graph *create(const char *name, uint32_t image_size)
{
	struct graph *graph = NULL;
	struct error error = {0};
	if (!models_create_graph(name, image_size, 1000, -1, &graph, &error))
		fail_msg("%s", error.message);
	return graph;
}

static void create_has_torchvisions_parameters_and_flops(void **state)
{
	static const struct {
		const char *name;
		uint64_t parameters, flops;
		uint32_t tensors, buffers;
	} cases[] = {
		{"resnet18", 11689512, 3628146688, 62, 40},
		{"resnet34", 21797672, 7327522816, 110, 72},
		{"resnet50", 25557032, 8178368512, 161, 106},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct graph *graph = create(cases[i].name, 224);
		struct operation_flops flops;
		graph_flops(graph, 0, graph->operation_count, &flops);
		assert_true(graph_parameter_elements(graph, 0, graph->operation_count) == cases[i].parameters);
		assert_true(flops.forward == cases[i].flops);
		assert_int_equal(graph->parameter_count, cases[i].tensors);
		assert_int_equal(graph->buffer_count, cases[i].buffers);
		graph_destroy(graph);
	}
}

static void create_has_torchvisions_names_in_order(void **state)
{
	static const char *const names[] = {
		"conv1.weight",
		"bn1.weight",
		"bn1.bias",
		"layer1.0.conv1.weight",
		"layer1.0.bn1.weight",
		"layer1.0.bn1.bias",
		"layer1.0.conv2.weight",
		"layer1.0.bn2.weight",
		"layer1.0.bn2.bias",
		"layer1.0.conv3.weight",
		"layer1.0.bn3.weight",
		"layer1.0.bn3.bias",
		"layer1.0.downsample.0.weight",
		"layer1.0.downsample.1.weight",
		"layer1.0.downsample.1.bias",
		"layer1.1.conv1.weight",
	};
	struct graph *graph = create("resnet50", 64);
	for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_string_equal(graph->parameters[i].name, names[i]);
	assert_string_equal(graph->parameters[graph->parameter_count - 1].name, "fc.bias");
	assert_string_equal(graph->buffers[0].name, "bn1.running_mean");
	assert_string_equal(graph->buffers[1].name, "bn1.running_var");
	uint32_t conv1 = graph_find_parameter(graph, "conv1.weight");
	struct initializer kaiming = initializer_kaiming_normal(64 * 49);
	assert_memory_equal(&graph->parameters[conv1].initializer, &kaiming, sizeof(kaiming));
	graph_destroy(graph);
}

// Between a block's first and last operation two values cross; between blocks one.
static void cuts_within_a_block_cross_two_values(void **state)
{
	struct graph *graph = create("resnet18", 64);
	uint32_t add = graph_find_operation(graph, "layer1.0.add"),
		 conv1 = graph_find_operation(graph, "layer1.0.conv1");
	assert_true(add != GRAPH_NONE && conv1 != GRAPH_NONE);
	for (uint32_t position = 1; position < graph->operation_count; position++) {
		struct boundary boundary;
		struct error error = {0};
		assert_true(boundary_find(graph, position, &boundary, &error));
		assert_true(boundary.count >= 1 && boundary.count <= 2);
		if (position == conv1 || position == add + 1)
			assert_int_equal(boundary.count, 1);
		if (position > conv1 && position <= add)
			assert_int_equal(boundary.count, 2);
		boundary_free(&boundary);
	}
	graph_destroy(graph);
}

static void chain_refuses_by_the_operations_name(void **state)
{
	struct model model;
	struct error error = {0};
	assert_false(models_create_chain("resnet18", 64, 10, -1, &model, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "operation 0, conv1 (Conv2d): it has no bias"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_has_torchvisions_parameters_and_flops),
		cmocka_unit_test(create_has_torchvisions_names_in_order),
		cmocka_unit_test(cuts_within_a_block_cross_two_values),
		cmocka_unit_test(chain_refuses_by_the_operations_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
