// Batch and layer normalisation as torch.nn.BatchNorm2d (in training: statistics of the micro-batch) and LayerNorm define them.
// See operation.h.
#include <math.h>

#include "common/graph/rules.h"

static bool check_epsilon(const struct operation_view *view, struct error *error)
{
	float epsilon = view->operation->attributes.norm.epsilon;
	return (isfinite(epsilon) && epsilon > 0) ||
	       error_set(error, ERROR_USAGE, "epsilon is %g, must be finite and above 0", (double)epsilon);
}

static bool check_vectors(const struct operation_view *view, uint32_t length, struct error *error)
{
	for (uint32_t i = 0; i < OPERATION_MAXIMUM_PARAMETERS; i++)
		if (!rules_check_vector(view->parameters[i], length, error))
			return false;
	for (uint32_t i = 0; i < OPERATION_MAXIMUM_BUFFERS; i++)
		if (!rules_check_vector(view->buffers[i], length, error))
			return false;
	return true;
}

static bool infer_batch_norm(const struct operation_view *view, struct error *error)
{
	const struct value *input = view->inputs[0];
	float momentum = view->operation->attributes.norm.momentum;
	if (!rules_check_real(view, 0, error) || !check_epsilon(view, error))
		return false;
	if (input->rank < 1 || !input->per_sample)
		return error_set(error, ERROR_USAGE,
				 "takes samples of (channels, ...), but its input %s is not of this form", input->name);
	if (!(momentum >= 0 && momentum <= 1))
		return error_set(error, ERROR_USAGE, "momentum is %g, must be from 0 to 1", (double)momentum);
	rules_copy_shape(view);
	return check_vectors(view, input->dims[0], error);
}

static bool infer_layer_norm(const struct operation_view *view, struct error *error)
{
	const struct value *input = view->inputs[0];
	if (!rules_check_real(view, 0, error) || !check_epsilon(view, error))
		return false;
	if (input->rank < 1)
		return error_set(error, ERROR_USAGE, "takes (..., features), but its input %s is a number",
				 input->name);
	rules_copy_shape(view);
	return check_vectors(view, input->dims[input->rank - 1], error);
}

// Mean and inverse deviation of each channel.
static void kept_of_batch_norm(const struct operation_view *view, struct operation_kept *ret_kept)
{
	*ret_kept = (struct operation_kept){.statistics_elements = 2 * (uint64_t)view->inputs[0]->dims[0]};
}

// Mean and inverse deviation of each row.
static void kept_of_layer_norm(const struct operation_view *view, struct operation_kept *ret_kept)
{
	const struct value *input = view->inputs[0];
	*ret_kept = (struct operation_kept){
		.statistics_elements = 2 * value_elements(input) / input->dims[input->rank - 1],
		.statistics_are_per_sample = input->per_sample,
	};
}

const struct operation_rules batch_norm_rules = {
	.name = "BatchNorm2d",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.maximum_parameters = 2,
	.buffers = 2,
	.needs_for_input = NEEDS_INPUTS | NEEDS_STATISTICS,
	.needs_for_weight = NEEDS_INPUTS | NEEDS_STATISTICS,
	.infer = infer_batch_norm,
	.kept = kept_of_batch_norm,
};

const struct operation_rules layer_norm_rules = {
	.name = "LayerNorm",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.maximum_parameters = 2,
	.needs_for_input = NEEDS_INPUTS | NEEDS_STATISTICS,
	.needs_for_weight = NEEDS_INPUTS | NEEDS_STATISTICS,
	.infer = infer_layer_norm,
	.kept = kept_of_layer_norm,
};
