// Shapes, and the checks of a list of layers, which a peer may have written.
#include "common/model/model.h"

#include <ctype.h>
#include <string.h>

enum { MAXIMUM_WINDOW = 1024 }; // kernel size, stride, padding

const char *layer_kind_name(enum layer_kind kind)
{
	switch (kind) {
	case LAYER_CONVOLUTION:
		return "Conv2d";
	case LAYER_RELU:
		return "ReLU";
	case LAYER_MAX_POOL:
		return "MaxPool2d";
	case LAYER_ADAPTIVE_AVERAGE_POOL:
		return "AdaptiveAvgPool2d";
	case LAYER_FLATTEN:
		return "Flatten";
	case LAYER_DROPOUT:
		return "Dropout";
	case LAYER_LINEAR:
		return "Linear";
	}
	return "unknown";
}

static bool within(uint32_t value, uint32_t minimum, uint32_t maximum, const char *what, struct error *error)
{
	return (value >= minimum && value <= maximum) ||
	       error_set(error, ERROR_USAGE, "%s is %u, must be from %u to %u", what, value, minimum, maximum);
}

// How many windows of `kernel` fit in `in`, in steps of `stride`.
static bool window_count(uint32_t in, uint32_t padding, uint32_t kernel, uint32_t stride, uint32_t *ret_count,
			 struct error *error)
{
	if (in + 2 * padding < kernel)
		return error_set(error, ERROR_USAGE, "its input of %u with padding %u is smaller than its window of %u", in,
				 padding, kernel);
	*ret_count = (in + 2 * padding - kernel) / stride + 1;
	return within(*ret_count, 1, MODEL_MAXIMUM_IMAGE_SIZE, "its output's height or width", error);
}

static bool infer_window(struct layer *layer, uint32_t channels, struct error *error)
{
	struct shape *output = &layer->output;
	output->channels = channels;
	return within(layer->kernel_size, 1, MAXIMUM_WINDOW, "its kernel_size", error) &&
	       within(layer->stride, 1, MAXIMUM_WINDOW, "its stride", error) &&
	       within(layer->padding, 0, MAXIMUM_WINDOW, "its padding", error) &&
	       window_count(layer->input.height, layer->padding, layer->kernel_size, layer->stride, &output->height, error) &&
	       window_count(layer->input.width, layer->padding, layer->kernel_size, layer->stride, &output->width, error);
}

static bool check_weights(const struct layer *layer, struct error *error)
{
	if (layer->initializer < INITIALIZER_PYTORCH_DEFAULT || layer->initializer > INITIALIZER_NORMAL_001)
		return error_set(error, ERROR_USAGE, "there is no initializer %d", (int)layer->initializer);
	if (layer->in_channels != layer->input.channels)
		return error_set(error, ERROR_USAGE, "it takes %u channels or features, and gets %u", layer->in_channels,
				 layer->input.channels);
	return within(layer->out_channels, 1, MODEL_MAXIMUM_CHANNELS, "its number of output channels or features", error);
}

static bool infer_layer(struct layer *layer, bool *is_flat, struct error *error)
{
	struct shape input = layer->input;
	layer->output = input;
	switch (layer->kind) {
	case LAYER_CONVOLUTION:
		return (!*is_flat || error_set(error, ERROR_USAGE, "a convolution after flatten")) &&
		       check_weights(layer, error) && infer_window(layer, layer->out_channels, error);
	case LAYER_MAX_POOL:
		return (layer->padding == 0 || error_set(error, ERROR_USAGE, "a max pool with padding")) &&
		       infer_window(layer, input.channels, error);
	case LAYER_ADAPTIVE_AVERAGE_POOL:
		layer->output.height = layer->output.width = layer->output_size;
		return within(layer->output_size, 1, MAXIMUM_WINDOW, "its output_size", error);
	case LAYER_FLATTEN:
		if (shape_count(input) > MODEL_MAXIMUM_CHANNELS)
			return error_set(error, ERROR_USAGE, "it gives %llu features, the limit is %d",
					 (unsigned long long)shape_count(input), MODEL_MAXIMUM_CHANNELS);
		*is_flat = true;
		layer->output = (struct shape){(uint32_t)shape_count(input), 1, 1};
		return true;
	case LAYER_LINEAR:
		layer->output = (struct shape){layer->out_channels, 1, 1};
		return (*is_flat || error_set(error, ERROR_USAGE, "a linear layer without flatten before it")) &&
		       check_weights(layer, error);
	case LAYER_DROPOUT: // written so that NaN is refused, too
		return (layer->probability >= 0.0f && layer->probability <= 1.0f) ||
		       error_set(error, ERROR_USAGE, "its probability is %g, must be from 0 to 1", (double)layer->probability);
	case LAYER_RELU:
		return true;
	}
	return error_set(error, ERROR_USAGE, "there is no kind of layer %d", (int)layer->kind);
}

static bool check_name(const struct model *model, uint32_t index, struct error *error)
{
	const char *name = model->layers[index].name;
	size_t length = strnlen(name, MODEL_NAME_SIZE);
	if (length == 0 || length == MODEL_NAME_SIZE)
		return error_set(error, ERROR_USAGE, "layer %u has no name, or one that is too long", index);
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("._-", name[i]) == NULL)
			return error_set(error, ERROR_USAGE, "layer %u: its name may hold letters, digits, \".\", \"_\" and \"-\"",
					 index);
	for (uint32_t i = 0; i < index; i++)
		if (strcmp(model->layers[i].name, name) == 0)
			return error_set(error, ERROR_USAGE, "layers %u and %u are both named %s", i, index, name);
	return true;
}

bool model_infer_shapes(struct model *model, struct error *error)
{
	if (!within(model->layer_count, 1, MODEL_MAXIMUM_LAYERS, "the number of layers", error) ||
	    !within(model->image_size, 1, MODEL_MAXIMUM_IMAGE_SIZE, "the image size", error))
		return false;
	struct shape shape = {3, model->image_size, model->image_size};
	bool is_flat = false;
	for (uint32_t i = 0; i < model->layer_count; i++) {
		struct layer *layer = &model->layers[i];
		layer->input = shape;
		if (!check_name(model, i, error))
			return false;
		if (!infer_layer(layer, &is_flat, error))
			return error_wrap(error, "layer %s (%s)", layer->name, layer_kind_name(layer->kind));
		shape = layer->output;
	}
	return true;
}

uint64_t shape_count(struct shape shape)
{
	return (uint64_t)shape.channels * shape.height * shape.width;
}

// Multiplications and additions count one each; comparisons and copies of the small layers one per element read.
uint64_t layer_forward_flops(const struct layer *layer)
{
	uint64_t output = shape_count(layer->output);
	switch (layer->kind) {
	case LAYER_CONVOLUTION:
		return output * 2 * layer->in_channels * layer->kernel_size * layer->kernel_size;
	case LAYER_LINEAR:
		return output * 2 * layer->in_channels;
	case LAYER_MAX_POOL:
		return output * layer->kernel_size * layer->kernel_size;
	case LAYER_ADAPTIVE_AVERAGE_POOL:
	case LAYER_RELU:
	case LAYER_DROPOUT:
		return shape_count(layer->input);
	case LAYER_FLATTEN:
		break;
	}
	return 0;
}

// The gradients of input and weights are a matrix product each, as large as the forward one.
uint64_t layer_backward_flops(const struct layer *layer)
{
	bool has_weights = layer->kind == LAYER_CONVOLUTION || layer->kind == LAYER_LINEAR;
	return layer_forward_flops(layer) * (has_weights ? 2 : 1);
}
