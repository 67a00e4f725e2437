// Operations that compute nothing: the elements of their outputs are those of their input. See operation.h.
#include <inttypes.h>

#include "common/graph/rules.h"

static bool infer_flatten(const struct operation_view *view, struct error *error)
{
	const struct value *input = view->inputs[0];
	uint32_t first = view->operation->attributes.flatten.first, end = view->operation->attributes.flatten.end;
	if (first >= end || end > input->rank)
		return error_set(error, ERROR_USAGE, "flattens dimensions [%u, %u) of an input of %u", first, end,
				 input->rank);
	rules_copy_shape(view);
	struct value *output = view->outputs[0];
	output->rank = input->rank - (end - first) + 1;
	for (uint32_t i = first + 1; i < end; i++) // below 2^28: an input has at most so many elements
		output->dims[first] *= input->dims[i];
	for (uint32_t i = end; i < input->rank; i++)
		output->dims[first + 1 + i - end] = input->dims[i];
	return true;
}

static bool infer_reshape(const struct operation_view *view, struct error *error)
{
	uint32_t rank = view->operation->attributes.reshape.rank;
	const uint32_t *dims = view->operation->attributes.reshape.dims;
	if (!rules_check_range("the number of dimensions", rank, 0, VALUE_MAXIMUM_RANK, error))
		return false;
	uint64_t elements = 1;
	for (uint32_t i = 0; i < rank; i++) {
		if (!rules_check_range("a dimension", dims[i], 1, VALUE_MAXIMUM_DIMENSION, error))
			return false;
		elements *= dims[i];
		if (elements > VALUE_MAXIMUM_ELEMENTS)
			break;
	}
	char text[DIMS_TEXT_SIZE];
	if (elements != value_elements(view->inputs[0]))
		return error_set(error, ERROR_USAGE, "cannot give %" PRIu64 " elements the shape %s",
				 value_elements(view->inputs[0]), value_format_dims(rank, dims, text, sizeof(text)));
	rules_copy_shape(view);
	view->outputs[0]->rank = rank;
	for (uint32_t i = 0; i < rank; i++)
		view->outputs[0]->dims[i] = dims[i];
	return true;
}

static bool infer_permute(const struct operation_view *view, struct error *error)
{
	const struct value *input = view->inputs[0];
	const uint32_t *axes = view->operation->attributes.permute.axes;
	uint32_t seen = 0;
	rules_copy_shape(view);
	for (uint32_t i = 0; i < input->rank; i++) {
		if (!rules_check_axis(view, axes[i], error))
			return false;
		seen |= 1u << axes[i];
		view->outputs[0]->dims[i] = input->dims[axes[i]];
	}
	char text[DIMS_TEXT_SIZE];
	return seen == (1u << input->rank) - 1 ||
	       error_set(error, ERROR_USAGE, "the axes %s do not name each dimension once",
			 value_format_dims(input->rank, axes, text, sizeof(text)));
}

static bool infer_split(const struct operation_view *view, struct error *error)
{
	const struct value *input = view->inputs[0];
	uint32_t axis = view->operation->attributes.axis.axis, parts = view->operation->output_count;
	if (!rules_check_axis(view, axis, error))
		return false;
	if (input->dims[axis] % parts != 0)
		return error_set(error, ERROR_USAGE, "%u elements along axis %u do not make %u equal parts",
				 input->dims[axis], axis, parts);
	for (uint32_t i = 0; i < parts; i++) {
		struct value *output = view->outputs[i];
		output->type = input->type;
		output->per_sample = input->per_sample;
		output->rank = input->rank;
		for (uint32_t d = 0; d < input->rank; d++)
			output->dims[d] = input->dims[d] / (d == axis ? parts : 1);
	}
	return true;
}

const struct operation_rules flatten_rules = {
	.name = "Flatten",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.in_place = true,
	.is_view = true,
	.infer = infer_flatten,
};

const struct operation_rules reshape_rules = {
	.name = "reshape",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.in_place = true,
	.is_view = true,
	.infer = infer_reshape,
};

const struct operation_rules permute_rules = {
	.name = "permute",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.infer = infer_permute,
};

const struct operation_rules split_rules = {
	.name = "split",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 2,
	.maximum_outputs = OPERATION_MAXIMUM_OUTPUTS,
	.infer = infer_split,
};
