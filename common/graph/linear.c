// Products of matrices: torch.nn.Linear, the transposed one of Hugging Face's GPT-2 (Conv1D), and torch.matmul. See operation.h.
#include <string.h>

#include "common/graph/rules.h"

static uint32_t features_out(const struct operation_view *view)
{
	return view->parameters[0]->dims[view->operation->attributes.linear.transposed ? 1 : 0];
}

static bool infer_linear(const struct operation_view *view, struct error *error)
{
	const struct value *input = view->inputs[0];
	if (!rules_check_real(view, 0, error))
		return false;
	if (input->rank < 1)
		return error_set(error, ERROR_USAGE, "takes (..., features), but its input %s is a number",
				 input->name);
	uint32_t in = input->dims[input->rank - 1], out = features_out(view);
	bool transposed = view->operation->attributes.linear.transposed;
	const uint32_t dims[2] = {transposed ? in : out, transposed ? out : in};
	if (!rules_check_tensor(view->parameters[0], 2, dims, error) ||
	    !rules_check_vector(view->parameters[1], out, error))
		return false;
	rules_copy_shape(view);
	view->outputs[0]->dims[input->rank - 1] = out;
	return true;
}

static void flops_of_linear(const struct operation_view *view, struct operation_flops *ret_flops)
{
	const struct value *input = view->inputs[0];
	uint64_t products = value_elements(view->outputs[0]) * input->dims[input->rank - 1];
	*ret_flops = (struct operation_flops){2 * products, 2 * products, 2 * products};
}

static bool infer_matmul(const struct operation_view *view, struct error *error)
{
	if (!rules_check_real(view, 0, error) || !rules_check_real(view, 1, error))
		return false;
	const struct value *a = view->inputs[0], *b = view->inputs[1];
	char dims_a[DIMS_TEXT_SIZE], dims_b[DIMS_TEXT_SIZE];
	uint32_t rank = a->rank;
	if (rank < 2 || b->rank != rank || a->per_sample != b->per_sample || a->dims[rank - 1] != b->dims[rank - 2] ||
	    memcmp(a->dims, b->dims, (rank - 2) * sizeof(a->dims[0])) != 0)
		return error_set(error, ERROR_USAGE, "takes (..., m, k) and (..., k, n), but %s has %s and %s has %s",
				 a->name, value_format_dims(a->rank, a->dims, dims_a, sizeof(dims_a)), b->name,
				 value_format_dims(b->rank, b->dims, dims_b, sizeof(dims_b)));
	rules_copy_shape(view);
	view->outputs[0]->dims[rank - 1] = b->dims[rank - 1];
	return true;
}

static void flops_of_matmul(const struct operation_view *view, struct operation_flops *ret_flops)
{
	const struct value *a = view->inputs[0];
	uint64_t products = value_elements(view->outputs[0]) * a->dims[a->rank - 1];
	*ret_flops = (struct operation_flops){2 * products, 4 * products, 0};
}

const struct operation_rules linear_rules = {
	.name = "Linear",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.minimum_parameters = 1,
	.maximum_parameters = 2,
	.needs_for_weight = NEEDS_INPUTS,
	.infer = infer_linear,
	.flops = flops_of_linear,
};

const struct operation_rules matmul_rules = {
	.name = "matmul",
	.minimum_inputs = 2,
	.maximum_inputs = 2,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.needs_for_input = NEEDS_INPUTS,
	.infer = infer_matmul,
	.flops = flops_of_matmul,
};
