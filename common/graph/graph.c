// Making graphs, and looking things up in them. See graph.h.
#include "common/graph/graph.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"

static bool check_count(const char *what, uint32_t count, uint32_t minimum, uint32_t maximum, struct error *error)
{
	return (count >= minimum && count <= maximum) ||
	       error_set(error, ERROR_USAGE, "the graph has %u %s; the number must be from %u to %u", count, what,
			 minimum, maximum);
}

static void *allocate(uint32_t count, size_t size)
{
	return calloc(count > 0 ? count : 1, size);
}

static void destroy(struct graph *graph)
{
	free(graph->operations);
	free(graph->values);
	free(graph->parameters);
	free(graph->buffers);
	free(graph->groups);
	free(graph->uses);
	free(graph);
}

bool graph_create(uint32_t operations, uint32_t values, uint32_t parameters, uint32_t buffers, uint32_t groups,
		  struct graph **ret_graph, struct error *error)
{
	if (!check_count("operations", operations, 1, GRAPH_MAXIMUM_OPERATIONS, error) ||
	    !check_count("values", values, 1, GRAPH_MAXIMUM_VALUES, error) ||
	    !check_count("parameters", parameters, 0, GRAPH_MAXIMUM_TENSORS, error) ||
	    !check_count("buffers", buffers, 0, GRAPH_MAXIMUM_TENSORS, error) ||
	    !check_count("groups", groups, 0, GRAPH_MAXIMUM_GROUPS, error))
		return false;
	struct graph *graph = calloc(1, sizeof(*graph));
	if (graph == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory for a graph");
	graph->operation_count = operations;
	graph->value_count = values;
	graph->parameter_count = parameters;
	graph->buffer_count = buffers;
	graph->group_count = groups;
	graph->loss = GRAPH_NONE;
	graph->operations = allocate(operations, sizeof(graph->operations[0]));
	graph->values = allocate(values, sizeof(graph->values[0]));
	graph->parameters = allocate(parameters, sizeof(graph->parameters[0]));
	graph->buffers = allocate(buffers, sizeof(graph->buffers[0]));
	graph->groups = allocate(groups, sizeof(graph->groups[0]));
	if (graph->operations == NULL || graph->values == NULL || graph->parameters == NULL || graph->buffers == NULL ||
	    graph->groups == NULL) {
		destroy(graph);
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory for a graph of %u operations", operations);
	}
	*ret_graph = graph;
	return true;
}

void graph_destroy(struct graph *graph)
{
	if (graph != NULL)
		destroy(graph);
}

#define COPY(to, from, array, count)                                                                                   \
	((count) > 0 ? memcpy((to)->array, (from)->array, (count) * sizeof((to)->array[0])) : NULL)

bool graph_copy(const struct graph *graph, struct graph **ret_graph, struct error *error)
{
	struct graph *copy = NULL;
	if (!graph_create(graph->operation_count, graph->value_count, graph->parameter_count, graph->buffer_count,
			  graph->group_count, &copy, error))
		return false;
	copy->uses = allocate(graph->use_count, sizeof(copy->uses[0]));
	if (copy->uses == NULL) {
		graph_destroy(copy);
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory for a graph");
	}
	memcpy(copy->name, graph->name, sizeof(copy->name));
	copy->input_count = graph->input_count;
	copy->loss = graph->loss;
	copy->use_count = graph->use_count;
	COPY(copy, graph, operations, graph->operation_count);
	COPY(copy, graph, values, graph->value_count);
	COPY(copy, graph, parameters, graph->parameter_count);
	COPY(copy, graph, buffers, graph->buffer_count);
	COPY(copy, graph, groups, graph->group_count);
	COPY(copy, graph, uses, graph->use_count);
	*ret_graph = copy;
	return true;
}

uint32_t graph_find_operation(const struct graph *graph, const char *name)
{
	for (uint32_t i = 0; i < graph->operation_count; i++)
		if (strcmp(graph->operations[i].name, name) == 0)
			return i;
	return GRAPH_NONE;
}

uint32_t graph_find_parameter(const struct graph *graph, const char *name)
{
	for (uint32_t i = 0; i < graph->parameter_count; i++)
		if (strcmp(graph->parameters[i].name, name) == 0)
			return i;
	return GRAPH_NONE;
}

uint32_t graph_find_input(const struct graph *graph, const char *name)
{
	for (uint32_t i = 0; i < graph->input_count; i++)
		if (strcmp(graph->values[i].name, name) == 0)
			return i;
	return GRAPH_NONE;
}

static bool is_used_within(const struct graph *graph, const struct tensor *tensor, uint32_t first, uint32_t end)
{
	for (uint32_t i = 0; i < tensor->use_count; i++) {
		uint32_t operation = graph->uses[tensor->first_use + i].operation;
		if (operation >= first && operation < end)
			return true;
	}
	return false;
}

uint64_t graph_parameter_elements(const struct graph *graph, uint32_t first, uint32_t end)
{
	uint64_t elements = 0;
	for (uint32_t i = 0; i < graph->parameter_count; i++)
		if (is_used_within(graph, &graph->parameters[i], first, end))
			elements += tensor_elements(&graph->parameters[i]);
	return elements;
}

void graph_flops(const struct graph *graph, uint32_t first, uint32_t end, struct operation_flops *ret_flops)
{
	struct operation_flops sum = {0};
	for (uint32_t i = first; i < end; i++) {
		struct operation_flops flops;
		operation_flops(graph, i, &flops);
		sum.forward += flops.forward;
		sum.backward_input += flops.backward_input;
		sum.backward_weight += flops.backward_weight;
	}
	*ret_flops = sum;
}

bool graph_can_cut(const struct graph *graph, uint32_t position)
{
	if (position < 1 || position >= graph->operation_count)
		return false;
	for (uint32_t i = 0; i < graph->group_count; i++)
		if (position > graph->groups[i].first && position < graph->groups[i].end)
			return false;
	return true;
}
