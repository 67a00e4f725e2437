// The gate for a graph that a peer or a builder wrote. See graph_check.
//
// It goes from names to ids to shapes: messages quote names, and shapes are read by ids. A number has one way to be written, so that
// equal networks are equal graphs: values are numbered in the order of their producers, parameters and buffers in the order of
// their first use.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/graph/rules.h"

// A name is 1 to GRAPH_NAME_SIZE - 1 of these: it becomes part of file keys, messages and metrics.
static bool name_is_valid(const char name[GRAPH_NAME_SIZE])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t length = strnlen(name, GRAPH_NAME_SIZE);
	return length > 0 && length < GRAPH_NAME_SIZE && strspn(name, letters) == length;
}

static bool check_name(const char *what, uint32_t index, const char *name, struct error *error)
{
	return name_is_valid(name) ||
	       error_set(error, ERROR_USAGE, "%s %u: its name is not 1 to %d letters, digits, '.', '_' or '-'", what,
			 index, GRAPH_NAME_SIZE - 1);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Names that each stand at the same place of `stride` bytes apart; two arrays share one space of names.
struct name_list {
	const char *what;
	const void *first[2];
	uint32_t count[2];
	size_t stride;
};

static bool check_names(const struct name_list *list, struct error *error)
{
	uint32_t count = list->count[0] + list->count[1];
	_cleanup_free_ const char **names = calloc(count > 0 ? count : 1, sizeof(*names));
	if (names == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory for the names of a graph");
	for (uint32_t i = 0; i < count; i++) {
		bool second = i >= list->count[0];
		uint32_t index = second ? i - list->count[0] : i;
		names[i] = (const char *)list->first[second] + index * list->stride;
		if (!check_name(list->what, i, names[i], error))
			return false;
	}
	qsort(names, count, sizeof(*names), compare_names);
	for (uint32_t i = 1; i < count; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			return error_set(error, ERROR_USAGE, "two %ss are named %s", list->what, names[i]);
	return true;
}

static bool check_all_names(const struct graph *graph, struct error *error)
{
	const struct name_list lists[] = {
		{"operation", {graph->operations->name, NULL}, {graph->operation_count, 0}, sizeof(struct operation)},
		{"value", {graph->values->name, NULL}, {graph->value_count, 0}, sizeof(struct value)},
		{"parameter or buffer",
		 {graph->parameters->name, graph->buffers->name},
		 {graph->parameter_count, graph->buffer_count},
		 sizeof(struct tensor)},
	};
	if (!name_is_valid(graph->name))
		return error_set(error, ERROR_USAGE, "the model's name is not 1 to %d letters, digits, '.', '_' or '-'",
				 GRAPH_NAME_SIZE - 1);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (!check_names(&lists[i], error))
			return false;
	return true;
}

static bool check_initializer(const struct initializer *initializer, struct error *error)
{
	if (initializer->kind < INITIALIZER_CONSTANT || initializer->kind > INITIALIZER_NORMAL)
		return error_set(error, ERROR_USAGE, "unknown initializer %u", (unsigned)initializer->kind);
	return (isfinite(initializer->scale) &&
		(initializer->kind == INITIALIZER_CONSTANT || initializer->scale >= 0)) ||
	       error_set(error, ERROR_USAGE, "its initializer's scale is %g",
			 strings_unsigned_nan((double)initializer->scale));
}

static bool check_tensor(const struct tensor *tensor, struct error *error)
{
	uint64_t elements = 1;
	if (!rules_check_range("the number of dimensions", tensor->rank, 1, TENSOR_MAXIMUM_RANK, error))
		return false;
	for (uint32_t i = 0; i < tensor->rank; i++) {
		if (!rules_check_range("a dimension", tensor->dims[i], 1, VALUE_MAXIMUM_DIMENSION, error))
			return false;
		elements *= tensor->dims[i];
		if (elements > TENSOR_MAXIMUM_ELEMENTS)
			return error_set(error, ERROR_USAGE, "has over %" PRIu64 " elements", TENSOR_MAXIMUM_ELEMENTS);
	}
	return check_initializer(&tensor->initializer, error);
}

static bool check_tensors(const struct graph *graph, struct error *error)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < graph->parameter_count + graph->buffer_count; i++) {
		bool is_buffer = i >= graph->parameter_count;
		const struct tensor *tensor =
			is_buffer ? &graph->buffers[i - graph->parameter_count] : &graph->parameters[i];
		if (!check_tensor(tensor, error))
			return error_wrap(error, "%s %s", is_buffer ? "buffer" : "parameter", tensor->name);
		total += tensor_elements(tensor);
		if (total > GRAPH_MAXIMUM_PARAMETERS_TOTAL)
			return error_set(error, ERROR_USAGE, "the parameters have over %" PRIu64 " elements",
					 GRAPH_MAXIMUM_PARAMETERS_TOTAL);
	}
	return true;
}

static bool check_count(const char *what, uint32_t count, uint32_t minimum, uint32_t maximum, struct error *error)
{
	if (count >= minimum && count <= maximum)
		return true;
	if (minimum == maximum)
		return error_set(error, ERROR_USAGE, "has %u %s, must have %u", count, what, minimum);
	return error_set(error, ERROR_USAGE, "has %u %s, must have %u to %u", count, what, minimum, maximum);
}

static bool check_counts(const struct operation *operation, struct error *error)
{
	const struct operation_rules *rules = operation_rules(operation->kind);
	if (rules == NULL)
		return error_set(error, ERROR_USAGE, "unknown kind %u", (unsigned)operation->kind);
	return check_count("inputs", operation->input_count, rules->minimum_inputs, rules->maximum_inputs, error) &&
	       check_count("outputs", operation->output_count, rules->minimum_outputs, rules->maximum_outputs, error) &&
	       check_count("parameters", operation->parameter_count, rules->minimum_parameters,
			   rules->maximum_parameters, error) &&
	       check_count("buffers", operation->buffer_count, rules->buffers, rules->buffers, error);
}

// The lowest ids that no operation so far has made (of values) or used (of tensors).
struct next {
	uint32_t value, parameter, buffer;
};

static bool check_inputs(const struct graph *graph, const struct operation *operation, const struct next *next,
			 struct error *error)
{
	for (uint32_t i = 0; i < operation->input_count; i++) {
		uint32_t id = operation->inputs[i];
		if (id >= graph->value_count)
			return error_set(error, ERROR_USAGE, "input %u is value %u, of %u", i, id, graph->value_count);
		if (id >= next->value)
			return error_set(error, ERROR_USAGE,
					 "input %u, %s, is not made by an earlier operation: the graph has a cycle, "
					 "or its operations are not in topological order",
					 i, graph->values[id].name);
	}
	return true;
}

static bool check_outputs(const struct graph *graph, const struct operation *operation, struct next *next,
			  struct error *error)
{
	for (uint32_t i = 0; i < operation->output_count; i++) {
		uint32_t id = operation->outputs[i];
		if (id >= graph->value_count)
			return error_set(error, ERROR_USAGE, "output %u is value %u, of %u", i, id, graph->value_count);
		if (id != next->value)
			return error_set(error, ERROR_USAGE,
					 "output %u is value %u, must be %u: values are numbered in the order in which "
					 "operations make them",
					 i, id, next->value);
		next->value++;
	}
	return true;
}

// A tensor's first use takes the next id; `may_repeat`: a later one may use it again.
static bool check_tensor_ids(const char *what, uint32_t count, const uint32_t *ids, uint32_t limit, bool may_repeat,
			     uint32_t *next, struct error *error)
{
	for (uint32_t i = 0; i < count; i++) {
		if (ids[i] >= limit)
			return error_set(error, ERROR_USAGE, "%s %u is number %u, of %u", what, i, ids[i], limit);
		if (ids[i] > *next || (ids[i] < *next && !may_repeat))
			return error_set(
				error, ERROR_USAGE,
				"%s %u is number %u, must be %u: they are numbered in the order of their first "
				"use",
				what, i, ids[i], *next);
		*next += ids[i] == *next ? 1 : 0;
	}
	return true;
}

static bool check_ids(const struct graph *graph, uint32_t operation, struct next *next, struct error *error)
{
	const struct operation *at = &graph->operations[operation];
	return (check_counts(at, error) && check_inputs(graph, at, next, error) &&
		check_outputs(graph, at, next, error) &&
		check_tensor_ids("parameter", at->parameter_count, at->parameters, graph->parameter_count, true,
				 &next->parameter, error) &&
		check_tensor_ids("buffer", at->buffer_count, at->buffers, graph->buffer_count, false, &next->buffer,
				 error)) ||
	       rules_wrap(graph, operation, error);
}

// The inputs of the graph are the values before the first that an operation makes.
static bool check_graph_inputs(struct graph *graph, struct error *error)
{
	uint64_t outputs = 0;
	for (uint32_t i = 0; i < graph->operation_count; i++)
		outputs += graph->operations[i].output_count;
	if (outputs >= graph->value_count)
		return error_set(error, ERROR_USAGE,
				 "the graph has %u values, and its operations make %" PRIu64 ": it has no input",
				 graph->value_count, outputs);
	graph->input_count = graph->value_count - (uint32_t)outputs;
	for (uint32_t i = 0; i < graph->input_count; i++) {
		const struct value *value = &graph->values[i];
		uint64_t elements = 1;
		if (value->type < VALUE_COMPUTE || value->type > VALUE_INT32)
			return error_set(error, ERROR_USAGE, "input %s: unknown type %u", value->name,
					 (unsigned)value->type);
		if (value->rank > VALUE_MAXIMUM_RANK)
			return error_set(error, ERROR_USAGE, "input %s: %u dimensions; the maximum is %d", value->name,
					 value->rank, VALUE_MAXIMUM_RANK);
		for (uint32_t d = 0; d < value->rank; d++) {
			if (!rules_check_range("a dimension", value->dims[d], 1, VALUE_MAXIMUM_DIMENSION, error))
				return error_wrap(error, "input %s", value->name);
			elements *= value->dims[d];
			if (elements > VALUE_MAXIMUM_ELEMENTS)
				return error_set(error, ERROR_USAGE, "input %s: over %d elements", value->name,
						 VALUE_MAXIMUM_ELEMENTS);
		}
	}
	return true;
}

static bool check_operations(struct graph *graph, struct error *error)
{
	struct next next = {.value = graph->input_count};
	uint64_t flops = 0;
	for (uint32_t i = 0; i < graph->operation_count; i++) {
		struct operation_flops of_this;
		if (!check_ids(graph, i, &next, error) || !rules_infer(graph, i, error))
			return false;
		operation_flops(graph, i, &of_this);
		flops += of_this.forward;
		if (flops > GRAPH_MAXIMUM_FLOPS)
			return error_set(error, ERROR_USAGE, "computes over %" PRIu64 " FLOPs per sample",
					 GRAPH_MAXIMUM_FLOPS),
			       rules_wrap(graph, i, error);
		if (operation_rules(graph->operations[i].kind)->is_loss != (i + 1 == graph->operation_count))
			return error_set(error, ERROR_USAGE,
					 "the last operation must be a loss, and no other may be one"),
			       rules_wrap(graph, i, error);
	}
	graph->loss = graph->operation_count - 1;
	if (next.parameter < graph->parameter_count)
		return error_set(error, ERROR_USAGE, "no operation uses parameter %s",
				 graph->parameters[next.parameter].name);
	return next.buffer == graph->buffer_count ||
	       error_set(error, ERROR_USAGE, "no operation uses buffer %s", graph->buffers[next.buffer].name);
}

static bool check_groups(const struct graph *graph, struct error *error)
{
	uint32_t end = 0;
	for (uint32_t i = 0; i < graph->group_count; i++) {
		const struct group *group = &graph->groups[i];
		if (group->first < end || group->first >= group->end || group->end > graph->operation_count)
			return error_set(
				error, ERROR_USAGE,
				"group %u is operations [%u, %u): groups must be disjoint, in order, and within "
				"the graph's %u operations",
				i, group->first, group->end, graph->operation_count);
		end = group->end;
	}
	return true;
}

// Turns each count of uses into where they begin.
static void place_uses(struct graph *graph)
{
	uint32_t at = 0;
	for (uint32_t i = 0; i < graph->value_count; i++) {
		graph->values[i].first_use = at;
		at += graph->values[i].use_count;
		graph->values[i].use_count = 0;
	}
	for (uint32_t i = 0; i < graph->parameter_count + graph->buffer_count; i++) {
		struct tensor *tensor = i < graph->parameter_count ? &graph->parameters[i]
								   : &graph->buffers[i - graph->parameter_count];
		tensor->first_use = at;
		at += tensor->use_count;
		tensor->use_count = 0;
	}
	graph->use_count = at;
}

// Notes the uses where `uses` is there; counts them in any case.
static void visit_uses(struct graph *graph)
{
	struct use *uses = graph->uses;
	for (uint32_t i = 0; i < graph->operation_count; i++) {
		const struct operation *operation = &graph->operations[i];
		for (uint32_t k = 0; k < operation->input_count; k++) {
			struct value *value = &graph->values[operation->inputs[k]];
			uint32_t at = value->first_use + value->use_count++;
			if (uses != NULL)
				uses[at] = (struct use){i, k};
		}
		for (uint32_t k = 0; k < operation->parameter_count + operation->buffer_count; k++) {
			uint32_t b = k - operation->parameter_count;
			struct tensor *tensor = k < operation->parameter_count
							? &graph->parameters[operation->parameters[k]]
							: &graph->buffers[operation->buffers[b]];
			uint32_t at = tensor->first_use + tensor->use_count++;
			if (uses != NULL)
				uses[at] = (struct use){i, k < operation->parameter_count ? k : b};
		}
	}
}

static bool derive_uses(struct graph *graph, struct error *error)
{
	for (uint32_t i = 0; i < graph->value_count; i++)
		graph->values[i].use_count = 0;
	for (uint32_t i = 0; i < graph->parameter_count; i++)
		graph->parameters[i].use_count = 0;
	for (uint32_t i = 0; i < graph->buffer_count; i++)
		graph->buffers[i].use_count = 0;
	free(graph->uses);
	graph->uses = NULL;
	visit_uses(graph);
	place_uses(graph);
	graph->uses = calloc((size_t)graph->use_count + 1, sizeof(graph->uses[0]));
	if (graph->uses == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory for a graph");
	visit_uses(graph);
	return true;
}

static void derive_producers(struct graph *graph)
{
	for (uint32_t i = 0; i < graph->input_count; i++) {
		graph->values[i].producer = GRAPH_NONE;
		graph->values[i].producer_index = 0;
		graph->values[i].has_gradient = false;
	}
	for (uint32_t i = 0; i < graph->operation_count; i++) {
		const struct operation *operation = &graph->operations[i];
		bool has_gradient = operation->parameter_count > 0;
		for (uint32_t k = 0; k < operation->input_count; k++)
			has_gradient = has_gradient || graph->values[operation->inputs[k]].has_gradient;
		for (uint32_t k = 0; k < operation->output_count; k++) {
			struct value *value = &graph->values[operation->outputs[k]];
			value->producer = i;
			value->producer_index = k;
			value->has_gradient = has_gradient && value->type != VALUE_INT32;
		}
	}
}

// A value that leads nowhere would have no gradient; who exports a graph leaves such operations out.
static bool check_used(const struct graph *graph, struct error *error)
{
	for (uint32_t i = 0; i < graph->value_count; i++) {
		const struct value *value = &graph->values[i];
		if (value->use_count > 0 || value->producer == graph->loss)
			continue;
		if (value->producer == GRAPH_NONE)
			return error_set(error, ERROR_USAGE, "no operation uses the input %s", value->name);
		return error_set(error, ERROR_USAGE, "no operation uses its output %s", value->name),
		       rules_wrap(graph, value->producer, error);
	}
	return true;
}

bool graph_check(struct graph *graph, struct error *error)
{
	if (!check_all_names(graph, error) || !check_tensors(graph, error) || !check_graph_inputs(graph, error) ||
	    !check_operations(graph, error) || !check_groups(graph, error) || !derive_uses(graph, error))
		return false;
	derive_producers(graph);
	return check_used(graph, error);
}
