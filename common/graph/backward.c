// The derived list of the backward pass. See backward.h.
#include "common/graph/backward.h"

#include <stdlib.h>

#include "common/base/strings.h"

// Whether a part of the value's gradient is there before operation `operation`'s turn: from a later user, on this range or behind it.
static bool has_later_part(const struct graph *graph, const struct value *value, uint32_t operation, uint32_t index)
{
	const struct use *last = &graph->uses[value->first_use + value->use_count - 1];
	return last->operation > operation || last->index > index;
}

// False: there is nothing to compute.
static bool plan_step(const struct graph *graph, uint32_t operation, struct backward_step *ret_step)
{
	const struct operation *at = &graph->operations[operation];
	struct backward_step step = {.operation = operation, .has_weights = at->parameter_count > 0};
	bool any = step.has_weights;
	for (uint32_t i = 0; i < at->input_count; i++) {
		const struct value *value = &graph->values[at->inputs[i]];
		if (!value->has_gradient)
			continue;
		step.inputs[i] = has_later_part(graph, value, operation, i) ? GRADIENT_ADD : GRADIENT_WRITE;
		any = true;
	}
	*ret_step = step;
	return any;
}

bool backward_derive(const struct graph *graph, uint32_t first, uint32_t end, struct backward *ret_backward,
		     struct error *error)
{
	struct backward backward = {.steps = calloc(end - first + 1, sizeof(backward.steps[0]))};
	if (backward.steps == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory for a backward pass of %u operations",
				 end - first);
	for (uint32_t i = end; i > first; i--)
		if (plan_step(graph, i - 1, &backward.steps[backward.count]))
			backward.count++;
	*ret_backward = backward;
	return true;
}

void backward_free(struct backward *backward)
{
	free(backward->steps);
	*backward = (struct backward){0};
}
