// Pools as torch.nn.MaxPool2d, AvgPool2d and AdaptiveAvgPool2d define them. See operation.h.
#include "common/graph/rules.h"

static bool infer_pool(const struct operation_view *view, struct error *error)
{
	const struct window *window = &view->operation->attributes.pool.window;
	bool ceil_mode = view->operation->attributes.pool.ceil_mode;
	if (!rules_check_image(view, error))
		return false;
	for (uint32_t axis = 0; axis < 2; axis++)
		if (window->padding[axis] > window->kernel[axis] / 2)
			return error_set(error, ERROR_USAGE, "padding is %u, must be at most half of the window of %u",
					 window->padding[axis], window->kernel[axis]);
	uint32_t height, width;
	if (!rules_window_positions(window, 0, view->inputs[0]->dims[1], ceil_mode, &height, error) ||
	    !rules_window_positions(window, 1, view->inputs[0]->dims[2], ceil_mode, &width, error))
		return false;
	rules_copy_shape(view);
	view->outputs[0]->dims[1] = height;
	view->outputs[0]->dims[2] = width;
	return true;
}

static bool infer_average(const struct operation_view *view, struct error *error)
{
	const struct window *window = &view->operation->attributes.pool.window;
	for (uint32_t axis = 0; axis < 2; axis++)
		if (window->dilation[axis] != 1)
			return error_set(error, ERROR_USAGE, "dilation is %u: an average pool has none",
					 window->dilation[axis]);
	return infer_pool(view, error);
}

static bool infer_adaptive(const struct operation_view *view, struct error *error)
{
	const uint32_t *size = view->operation->attributes.adaptive_pool.output;
	if (!rules_check_image(view, error) ||
	    !rules_check_range("output_size", size[0], 1, VALUE_MAXIMUM_DIMENSION, error) ||
	    !rules_check_range("output_size", size[1], 1, VALUE_MAXIMUM_DIMENSION, error))
		return false;
	rules_copy_shape(view);
	view->outputs[0]->dims[1] = size[0];
	view->outputs[0]->dims[2] = size[1];
	return true;
}

// Where each maximum was.
static void kept(const struct operation_view *view, struct operation_kept *ret_kept)
{
	*ret_kept = (struct operation_kept){.mask_elements = value_elements(view->outputs[0])};
}

const struct operation_rules max_pool_rules = {
	.name = "MaxPool2d",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.needs_for_input = NEEDS_MASK,
	.infer = infer_pool,
	.kept = kept,
};

const struct operation_rules average_pool_rules = {
	.name = "AvgPool2d",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.infer = infer_average,
};

const struct operation_rules adaptive_average_pool_rules = {
	.name = "AdaptiveAvgPool2d",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.infer = infer_adaptive,
};
