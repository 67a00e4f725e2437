// Cuts of a graph and lifetimes of its values. See boundary.h.
#include "common/graph/boundary.h"

#include <stdlib.h>

// The last operation that reads the value; its producer's own number where none does.
static uint32_t last_use(const struct graph *graph, const struct value *value)
{
	return value->use_count > 0 ? graph->uses[value->first_use + value->use_count - 1].operation : value->producer;
}

static bool is_live_across(const struct graph *graph, uint32_t value, uint32_t position)
{
	const struct value *at = &graph->values[value];
	return at->producer != GRAPH_NONE && at->producer < position && last_use(graph, at) >= position;
}

bool boundary_find(const struct graph *graph, uint32_t position, struct boundary *ret_boundary, struct error *error)
{
	uint32_t count = 0;
	for (uint32_t i = graph->input_count; i < graph->value_count; i++)
		count += is_live_across(graph, i, position) ? 1 : 0;
	struct boundary boundary = {.values = calloc(count > 0 ? count : 1, sizeof(boundary.values[0]))};
	if (boundary.values == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory for a boundary of %u values", count);
	for (uint32_t i = graph->input_count; i < graph->value_count; i++)
		if (is_live_across(graph, i, position))
			boundary.values[boundary.count++] = i;
	*ret_boundary = boundary;
	return true;
}

void boundary_free(struct boundary *boundary)
{
	free(boundary->values);
	*boundary = (struct boundary){0};
}

static bool is_used_within(const struct graph *graph, const struct value *value, uint32_t first, uint32_t end)
{
	for (uint32_t i = 0; i < value->use_count; i++) {
		uint32_t operation = graph->uses[value->first_use + i].operation;
		if (operation >= first && operation < end)
			return true;
	}
	return false;
}

void boundary_crossings(const struct graph *graph, const struct boundary *boundary, uint32_t first, uint32_t end,
			struct crossing *ret_crossings)
{
	for (uint32_t i = 0; i < boundary->count; i++) {
		const struct value *value = &graph->values[boundary->values[i]];
		ret_crossings[i] = (struct crossing){
			.value = boundary->values[i],
			.is_used = is_used_within(graph, value, first, end),
			.goes_on = last_use(graph, value) >= end,
		};
	}
}

struct boundary_bytes boundary_bytes(const struct graph *graph, const struct boundary *boundary, uint32_t element_bytes)
{
	struct boundary_bytes sum = {0};
	for (uint32_t i = 0; i < boundary->count; i++) {
		const struct value *value = &graph->values[boundary->values[i]];
		uint64_t bytes = value_elements(value) * (value->type == VALUE_COMPUTE ? element_bytes : 4);
		*(value->per_sample ? &sum.forward : &sum.forward_whole) += bytes;
		if (value->has_gradient)
			*(value->per_sample ? &sum.backward : &sum.backward_whole) += bytes;
	}
	return sum;
}

// An operation whose backward pass computes anything reads again what its row says.
static bool reads_again(const struct graph *graph, const struct operation *operation, uint32_t which)
{
	const struct operation_rules *rules = operation_rules(operation->kind);
	bool has_input_pass = false;
	for (uint32_t i = 0; i < operation->input_count; i++)
		has_input_pass = has_input_pass || graph->values[operation->inputs[i]].has_gradient;
	return (has_input_pass && (rules->needs_for_input & which) != 0) ||
	       (operation->parameter_count > 0 && (rules->needs_for_weight & which) != 0);
}

static bool is_kept(const struct graph *graph, const struct value *value, uint32_t first, uint32_t end)
{
	for (uint32_t i = 0; i < value->use_count; i++) {
		uint32_t operation = graph->uses[value->first_use + i].operation;
		if (operation >= first && operation < end &&
		    reads_again(graph, &graph->operations[operation], NEEDS_INPUTS))
			return true;
	}
	return value->producer != GRAPH_NONE && value->producer >= first && value->producer < end &&
	       reads_again(graph, &graph->operations[value->producer], NEEDS_OUTPUTS);
}

void boundary_lifetime(const struct graph *graph, uint32_t value, uint32_t first, uint32_t end,
		       struct lifetime *ret_lifetime)
{
	const struct value *at = &graph->values[value];
	uint32_t last = last_use(graph, at);
	*ret_lifetime = (struct lifetime){
		.begin = at->producer != GRAPH_NONE && at->producer > first ? at->producer : first,
		.end = at->producer != GRAPH_NONE && last >= end ? end
		       : last < end                              ? last
								 : end,
		.is_kept = is_kept(graph, at, first, end),
	};
}
