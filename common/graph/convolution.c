// Convolutions as torch.nn.Conv2d defines them. See operation.h.
#include "common/graph/rules.h"

static bool check_weight(const struct operation_view *view, struct error *error)
{
	const struct window *window = &view->operation->attributes.convolution.window;
	uint32_t channels = view->inputs[0]->dims[0], groups = view->operation->attributes.convolution.groups;
	const struct tensor *weight = view->parameters[0];
	if (groups < 1 || channels % groups != 0 || weight->dims[0] % groups != 0)
		return error_set(error, ERROR_USAGE, "%u groups do not divide %u channels into %u", groups, channels,
				 weight->dims[0]);
	const uint32_t dims[4] = {weight->dims[0], channels / groups, window->kernel[0], window->kernel[1]};
	return rules_check_tensor(weight, 4, dims, error) &&
	       rules_check_vector(view->parameters[1], weight->dims[0], error);
}

static bool infer(const struct operation_view *view, struct error *error)
{
	const struct window *window = &view->operation->attributes.convolution.window;
	if (!rules_check_image(view, error) || !check_weight(view, error))
		return false;
	const struct value *input = view->inputs[0];
	uint32_t height, width;
	if (!rules_window_positions(window, 0, input->dims[1], false, &height, error) ||
	    !rules_window_positions(window, 1, input->dims[2], false, &width, error))
		return false;
	rules_copy_shape(view);
	view->outputs[0]->dims[0] = view->parameters[0]->dims[0];
	view->outputs[0]->dims[1] = height;
	view->outputs[0]->dims[2] = width;
	return true;
}

static void flops(const struct operation_view *view, struct operation_flops *ret_flops)
{
	const uint32_t *weight = view->parameters[0]->dims;
	uint64_t products = value_elements(view->outputs[0]) * weight[1] * weight[2] * weight[3];
	*ret_flops = (struct operation_flops){2 * products, 2 * products, 2 * products};
}

const struct operation_rules convolution_rules = {
	.name = "Conv2d",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.minimum_parameters = 1,
	.maximum_parameters = 2,
	.needs_for_weight = NEEDS_INPUTS,
	.infer = infer,
	.flops = flops,
};
