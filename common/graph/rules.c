// Checks that the rules of several kinds make. See rules.h.
#include "common/graph/rules.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "common/base/strings.h"

static const char *const type_names[] = {
	[VALUE_COMPUTE] = "real numbers",
	[VALUE_FLOAT32] = "float32",
	[VALUE_INT32] = "whole numbers",
};

void rules_view(const struct graph *graph, const struct operation *operation, struct operation_view *ret_view)
{
	*ret_view = (struct operation_view){.operation = operation};
	for (uint32_t i = 0; i < operation->input_count; i++)
		ret_view->inputs[i] = &graph->values[operation->inputs[i]];
	for (uint32_t i = 0; i < operation->output_count; i++)
		ret_view->outputs[i] = &graph->values[operation->outputs[i]];
	for (uint32_t i = 0; i < operation->parameter_count; i++)
		ret_view->parameters[i] = &graph->parameters[operation->parameters[i]];
	for (uint32_t i = 0; i < operation->buffer_count; i++)
		ret_view->buffers[i] = &graph->buffers[operation->buffers[i]];
}

bool rules_wrap(const struct graph *graph, uint32_t operation, struct error *error)
{
	const struct operation *at = &graph->operations[operation];
	return error_wrap(error, "operation %u, %s (%s)", operation, at->name, operation_kind_name(at->kind));
}

static bool check_size(const struct value *output, struct error *error)
{
	char dims[DIMS_TEXT_SIZE];
	uint64_t elements = 1;
	for (uint32_t i = 0; i < output->rank; i++) {
		if (output->dims[i] >= 1 && output->dims[i] <= VALUE_MAXIMUM_DIMENSION)
			elements *= output->dims[i];
		if (output->dims[i] < 1 || output->dims[i] > VALUE_MAXIMUM_DIMENSION ||
		    elements > VALUE_MAXIMUM_ELEMENTS)
			return error_set(error, ERROR_USAGE, "gives %s per sample; the maximum is %d elements",
					 value_format_dims(output->rank, output->dims, dims, sizeof(dims)),
					 VALUE_MAXIMUM_ELEMENTS);
	}
	return true;
}

bool rules_infer(struct graph *graph, uint32_t operation, struct error *error)
{
	const struct operation *at = &graph->operations[operation];
	struct operation_view view;
	rules_view(graph, at, &view);
	bool ok = operation_rules(at->kind)->infer(&view, error);
	for (uint32_t i = 0; i < at->output_count && ok; i++)
		ok = check_size(view.outputs[i], error);
	return ok || rules_wrap(graph, operation, error);
}

bool rules_check_range(const char *what, uint32_t value, uint32_t minimum, uint32_t maximum, struct error *error)
{
	return (value >= minimum && value <= maximum) ||
	       error_set(error, ERROR_USAGE, "%s is %u, must be from %u to %u", what, value, minimum, maximum);
}

bool rules_check_type(const struct operation_view *view, uint32_t index, enum value_type type, struct error *error)
{
	const struct value *input = view->inputs[index];
	return input->type == type || error_set(error, ERROR_USAGE, "takes %s, but its input %s holds %s",
						type_names[type], input->name, type_names[input->type]);
}

bool rules_check_real(const struct operation_view *view, uint32_t index, struct error *error)
{
	return rules_check_type(view, index, VALUE_COMPUTE, error);
}

bool rules_check_image(const struct operation_view *view, struct error *error)
{
	const struct value *input = view->inputs[0];
	char dims[DIMS_TEXT_SIZE];
	return rules_check_real(view, 0, error) &&
	       ((input->rank == 3 && input->per_sample) ||
		error_set(error, ERROR_USAGE, "takes images (channels, height, width), but its input %s has %s",
			  input->name, value_format_dims(input->rank, input->dims, dims, sizeof(dims))));
}

bool rules_check_tensor(const struct tensor *tensor, uint32_t rank, const uint32_t *dims, struct error *error)
{
	if (tensor == NULL || (tensor->rank == rank && memcmp(tensor->dims, dims, rank * sizeof(dims[0])) == 0))
		return true;
	char has[DIMS_TEXT_SIZE], wants[DIMS_TEXT_SIZE];
	return error_set(error, ERROR_USAGE, "%s has the shape %s, must have %s", tensor->name,
			 value_format_dims(tensor->rank, tensor->dims, has, sizeof(has)),
			 value_format_dims(rank, dims, wants, sizeof(wants)));
}

bool rules_check_vector(const struct tensor *tensor, uint32_t length, struct error *error)
{
	return rules_check_tensor(tensor, 1, &length, error);
}

bool rules_check_probability(float probability, struct error *error)
{
	return (probability >= 0 && probability < 1) ||
	       error_set(error, ERROR_USAGE, "probability is %g, must be at least 0 and below 1",
			 strings_unsigned_nan((double)probability));
}

bool rules_check_axis(const struct operation_view *view, uint32_t axis, struct error *error)
{
	return axis < view->inputs[0]->rank ||
	       error_set(error, ERROR_USAGE, "axis %u of an input of %u dimensions", axis, view->inputs[0]->rank);
}

void rules_copy_shape(const struct operation_view *view)
{
	const struct value *input = view->inputs[0];
	struct value *output = view->outputs[0];
	output->type = input->type;
	output->per_sample = input->per_sample;
	output->rank = input->rank;
	memcpy(output->dims, input->dims, sizeof(output->dims));
}

static bool check_window(const struct window *window, uint32_t axis, struct error *error)
{
	const uint32_t maximum = 1 << 16;
	return rules_check_range("kernel_size", window->kernel[axis], 1, maximum, error) &&
	       rules_check_range("stride", window->stride[axis], 1, maximum, error) &&
	       rules_check_range("dilation", window->dilation[axis], 1, maximum, error) &&
	       rules_check_range("padding", window->padding[axis], 0, maximum, error);
}

// As torch.nn.Conv2d and MaxPool2d define it. In ceil mode the last window begins within the input or the padding before it.
bool rules_window_positions(const struct window *window, uint32_t axis, uint32_t size, bool ceil_mode,
			    uint32_t *ret_positions, struct error *error)
{
	if (!check_window(window, axis, error))
		return false;
	uint64_t stride = window->stride[axis], padding = window->padding[axis], padded = size + 2 * padding;
	uint64_t covered = (uint64_t)window->dilation[axis] * (window->kernel[axis] - 1) + 1;
	if (padding >= covered)
		return error_set(error, ERROR_USAGE,
				 "padding is %" PRIu64 ", must be below %" PRIu64
				 ": a window in the padding alone sees nothing",
				 padding, covered);
	if (padded < covered)
		return error_set(error, ERROR_USAGE,
				 "a window of %" PRIu64 " does not fit an input of %u with padding %" PRIu64, covered,
				 size, padding);
	uint64_t positions = (padded - covered + (ceil_mode ? stride - 1 : 0)) / stride + 1;
	if (ceil_mode && (positions - 1) * stride >= size + padding)
		positions--;
	*ret_positions = (uint32_t)positions;
	return true;
}
