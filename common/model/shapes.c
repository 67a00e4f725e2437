// Shapes and FLOPs of layers. model_infer_shapes is also the gate for a model that a peer wrote: behind it,
// every size is within bounds that no product of this program overflows.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/model/model.h"

// Of one sample at one place, and of one weight. With them, the FLOPs of a layer stay below 2^62 and the
// bytes of a micro-batch of 65536 samples below 2^46.
static const uint64_t maximum_activation_elements = UINT64_C(1) << 28;
static const uint64_t maximum_weight_elements = UINT64_C(1) << 32;

static const char *const kind_names[] = {
	[LAYER_CONVOLUTION] = "Conv2d", [LAYER_RELU] = "ReLU",
	[LAYER_MAX_POOL] = "MaxPool2d", [LAYER_ADAPTIVE_AVERAGE_POOL] = "AdaptiveAvgPool2d",
	[LAYER_FLATTEN] = "Flatten",    [LAYER_DROPOUT] = "Dropout",
	[LAYER_LINEAR] = "Linear",
};

const char *layer_kind_name(enum layer_kind kind)
{
	return kind >= LAYER_CONVOLUTION && kind <= LAYER_LINEAR ? kind_names[kind] : "unknown";
}

uint64_t shape_count(struct shape shape)
{
	return (uint64_t)shape.channels * shape.height * shape.width;
}

// A name is 1 to MODEL_NAME_SIZE - 1 of [A-Za-z0-9._-]: it becomes part of file keys, messages and metrics.
static bool name_is_valid(const char name[MODEL_NAME_SIZE])
{
	size_t length = strnlen(name, MODEL_NAME_SIZE);
	if (length == 0 || length == MODEL_NAME_SIZE)
		return false;
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	return strspn(name, letters) == length;
}

static bool check_field(const char *what, uint32_t value, uint32_t minimum, uint32_t maximum, struct error *error)
{
	return (value >= minimum && value <= maximum) ||
	       error_set(error, ERROR_USAGE, "%s is %u, must be from %u to %u", what, value, minimum, maximum);
}

// Where a window of kernel_size slides over `size` padded on both sides.
static bool window_positions(const struct layer *layer, uint32_t size, uint32_t padding, uint32_t *ret_positions,
			     struct error *error)
{
	uint64_t padded = (uint64_t)size + 2 * (uint64_t)padding;
	if (padded < layer->kernel_size)
		return error_set(error, ERROR_USAGE, "a window of %u does not fit an input of %u with padding %u",
				 layer->kernel_size, size, padding);
	*ret_positions = (uint32_t)((padded - layer->kernel_size) / layer->stride + 1);
	return true;
}

static bool infer_window(struct layer *layer, uint32_t padding, struct error *error)
{
	return check_field("kernel_size", layer->kernel_size, 1, MODEL_MAXIMUM_IMAGE_SIZE, error) &&
	       check_field("stride", layer->stride, 1, MODEL_MAXIMUM_IMAGE_SIZE, error) &&
	       // A window that lies in the padding alone sees nothing.
	       check_field("padding", padding, 0, layer->kernel_size - 1, error) &&
	       window_positions(layer, layer->input.height, padding, &layer->output.height, error) &&
	       window_positions(layer, layer->input.width, padding, &layer->output.width, error);
}

static bool infer_weighted(struct layer *layer, struct error *error)
{
	if (!check_field("in_channels", layer->in_channels, 1, MODEL_MAXIMUM_CHANNELS, error) ||
	    !check_field("out_channels", layer->out_channels, 1, MODEL_MAXIMUM_CHANNELS, error))
		return false;
	if (layer->in_channels != layer->input.channels)
		return error_set(error, ERROR_USAGE,
				 "expects %u channels or features, but the layer before it gives %u",
				 layer->in_channels, layer->input.channels);
	if ((unsigned)layer->initializer > INITIALIZER_NORMAL_001)
		return error_set(error, ERROR_USAGE, "unknown initializer %u", (unsigned)layer->initializer);
	layer->output.channels = layer->out_channels;
	return true;
}

// Fills layer->output from layer->input. `flat`: a flatten came before. Fields that the kind does not use are
// ignored.
static bool infer_layer(struct layer *layer, bool flat, struct error *error)
{
	layer->output = layer->input;
	bool spatial = layer->kind == LAYER_CONVOLUTION || layer->kind == LAYER_MAX_POOL ||
		       layer->kind == LAYER_ADAPTIVE_AVERAGE_POOL;
	if (spatial && flat)
		return error_set(error, ERROR_USAGE, "expects images, but follows the flatten layer");
	switch (layer->kind) {
	case LAYER_CONVOLUTION:
		if (!infer_weighted(layer, error) || !infer_window(layer, layer->padding, error))
			return false;
		break;
	case LAYER_MAX_POOL:
		if (!infer_window(layer, 0, error))
			return false;
		break;
	case LAYER_ADAPTIVE_AVERAGE_POOL:
		if (!check_field("output_size", layer->output_size, 1, MODEL_MAXIMUM_IMAGE_SIZE, error))
			return false;
		layer->output.height = layer->output.width = layer->output_size;
		break;
	case LAYER_FLATTEN:
		if (shape_count(layer->input) > MODEL_MAXIMUM_CHANNELS)
			return error_set(error, ERROR_USAGE, "gives %" PRIu64 " features; the maximum is %d",
					 shape_count(layer->input), MODEL_MAXIMUM_CHANNELS);
		layer->output = (struct shape){(uint32_t)shape_count(layer->input), 1, 1};
		break;
	case LAYER_DROPOUT:
		if (!(layer->probability >= 0 && layer->probability < 1))
			return error_set(error, ERROR_USAGE, "probability is %g, must be at least 0 and below 1",
					 strings_unsigned_nan((double)layer->probability));
		break;
	case LAYER_LINEAR:
		if (!flat)
			return error_set(error, ERROR_USAGE, "expects features, but no flatten layer precedes it");
		if (!infer_weighted(layer, error))
			return false;
		break;
	case LAYER_RELU:
		break;
	default:
		return error_set(error, ERROR_USAGE, "unknown kind %u", (unsigned)layer->kind);
	}
	if (layer->output.height > MODEL_MAXIMUM_IMAGE_SIZE || layer->output.width > MODEL_MAXIMUM_IMAGE_SIZE ||
	    shape_count(layer->output) > maximum_activation_elements)
		return error_set(error, ERROR_USAGE,
				 "gives (%u, %u, %u) per sample; the maximum is %d in height and width and %" PRIu64
				 " elements",
				 layer->output.channels, layer->output.height, layer->output.width,
				 MODEL_MAXIMUM_IMAGE_SIZE, maximum_activation_elements);
	if (layer_parameter_count(layer) > maximum_weight_elements)
		return error_set(error, ERROR_USAGE, "has %" PRIu64 " parameters; the maximum is %" PRIu64,
				 layer_parameter_count(layer), maximum_weight_elements);
	return true;
}

static bool check_names(const struct model *model, struct error *error)
{
	if (!name_is_valid(model->name))
		return error_set(error, ERROR_USAGE, "the model's name is not 1 to %d letters, digits, '.', '_' or '-'",
				 MODEL_NAME_SIZE - 1);
	for (uint32_t i = 0; i < model->layer_count; i++) {
		if (!name_is_valid(model->layers[i].name))
			return error_set(error, ERROR_USAGE,
					 "layer %u: its name is not 1 to %d letters, digits, '.', '_' or '-'", i,
					 MODEL_NAME_SIZE - 1);
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(model->layers[i].name, model->layers[j].name) == 0)
				return error_set(error, ERROR_USAGE, "layers %u and %u are both named %s", j, i,
						 model->layers[i].name);
	}
	return true;
}

bool model_infer_shapes(struct model *model, struct error *error)
{
	if (!check_field("the number of layers", model->layer_count, 1, MODEL_MAXIMUM_LAYERS, error) ||
	    !check_field("image_size", model->image_size, 1, MODEL_MAXIMUM_IMAGE_SIZE, error) ||
	    !check_field("the number of classes", model->classes, 1, MODEL_MAXIMUM_CLASSES, error) ||
	    !check_names(model, error))
		return false;
	struct shape shape = {3, model->image_size, model->image_size};
	bool flat = false;
	for (uint32_t i = 0; i < model->layer_count; i++) {
		struct layer *layer = &model->layers[i];
		layer->input = shape;
		if (!infer_layer(layer, flat, error))
			return error_wrap(error, "layer %u, %s (%s)", i, layer->name, layer_kind_name(layer->kind));
		flat = flat || layer->kind == LAYER_FLATTEN;
		shape = layer->output;
	}
	return true;
}

uint64_t layer_forward_flops(const struct layer *layer)
{
	switch (layer->kind) {
	case LAYER_CONVOLUTION:
		return 2 * shape_count(layer->output) * layer->in_channels * layer->kernel_size * layer->kernel_size;
	case LAYER_LINEAR:
		return 2 * (uint64_t)layer->in_channels * layer->out_channels;
	default:
		return 0; // bound by memory, not by arithmetic: counting them would mislead whoever divides
			  // by a peak
	}
}

uint64_t layer_backward_flops(const struct layer *layer)
{
	return 2 * layer_forward_flops(layer); // each gradient is as many multiply-adds as the forward
}
