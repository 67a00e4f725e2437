// Operations whose output has its input's shape, element by element. See operation.h.
#include <string.h>

#include "common/graph/rules.h"

static bool infer_one(const struct operation_view *view, struct error *error)
{
	if (!rules_check_real(view, 0, error))
		return false;
	rules_copy_shape(view);
	return true;
}

// No broadcasting: it would need sums over the broadcast dimensions in the backward pass.
static bool infer_two(const struct operation_view *view, struct error *error)
{
	if (!rules_check_real(view, 0, error) || !rules_check_real(view, 1, error))
		return false;
	const struct value *a = view->inputs[0], *b = view->inputs[1];
	char dims_a[DIMS_TEXT_SIZE], dims_b[DIMS_TEXT_SIZE];
	if (a->rank != b->rank || a->per_sample != b->per_sample ||
	    memcmp(a->dims, b->dims, a->rank * sizeof(a->dims[0])) != 0)
		return error_set(error, ERROR_USAGE, "its inputs must have one shape: %s has %s%s, %s has %s%s",
				 a->name, value_format_dims(a->rank, a->dims, dims_a, sizeof(dims_a)),
				 a->per_sample ? " per sample" : "", b->name,
				 value_format_dims(b->rank, b->dims, dims_b, sizeof(dims_b)),
				 b->per_sample ? " per sample" : "");
	rules_copy_shape(view);
	return true;
}

static bool infer_dropout(const struct operation_view *view, struct error *error)
{
	return rules_check_probability(view->operation->attributes.dropout.probability, error) &&
	       infer_one(view, error);
}

static void kept_of_dropout(const struct operation_view *view, struct operation_kept *ret_kept)
{
	*ret_kept = (struct operation_kept){.mask_elements = value_elements(view->outputs[0])};
}

const struct operation_rules relu_rules = {
	.name = "ReLU",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.in_place = true,
	.needs_for_input = NEEDS_OUTPUTS,
	.infer = infer_one,
};

const struct operation_rules gelu_rules = {
	.name = "GELU",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.in_place = true,
	.needs_for_input = NEEDS_INPUTS,
	.infer = infer_one,
};

const struct operation_rules add_rules = {
	.name = "add",
	.minimum_inputs = 2,
	.maximum_inputs = 2,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.in_place = true,
	.infer = infer_two,
};

const struct operation_rules multiply_rules = {
	.name = "mul",
	.minimum_inputs = 2,
	.maximum_inputs = 2,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.in_place = true,
	.needs_for_input = NEEDS_INPUTS,
	.infer = infer_two,
};

const struct operation_rules dropout_rules = {
	.name = "Dropout",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.in_place = true,
	.is_random = true,
	.needs_for_input = NEEDS_MASK,
	.infer = infer_dropout,
	.kept = kept_of_dropout,
};
