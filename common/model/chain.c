// The chain of layers of a graph. See model_from_graph. It refuses by the operation's name what a chain cannot say; what the graph's own
// check has refused is not looked at again.
#include <stdio.h>
#include <string.h>

#include "common/graph/graph.h"
#include "common/model/model.h"

static bool is_square(const uint32_t pair[2])
{
	return pair[0] == pair[1];
}

static bool window_is_plain(const struct window *window)
{
	return is_square(window->kernel) && is_square(window->stride) && is_square(window->padding) &&
	       window->dilation[0] == 1 && window->dilation[1] == 1;
}

static bool same(struct initializer a, struct initializer b)
{
	return a.kind == b.kind && a.scale == b.scale;
}

// Which of torchvision's rules gives the weight and the bias their initial values.
static bool read_initializer(const struct graph *graph, const struct operation *operation, struct layer *layer,
			     struct error *error)
{
	struct initializer weight = graph->parameters[operation->parameters[0]].initializer;
	struct initializer bias = graph->parameters[operation->parameters[1]].initializer;
	uint64_t window = layer->kernel_size > 0 ? (uint64_t)layer->kernel_size * layer->kernel_size : 1;
	struct initializer uniform = initializer_default(layer->in_channels * window);
	if (same(weight, uniform) && same(bias, uniform))
		layer->initializer = INITIALIZER_PYTORCH_DEFAULT;
	else if (!same(bias, initializer_constant(0)))
		return error_set(error, ERROR_USAGE, "this version cannot draw its initial bias");
	else if (same(weight, initializer_kaiming_normal(layer->out_channels * window)))
		layer->initializer = INITIALIZER_KAIMING_NORMAL;
	else if (same(weight, initializer_normal(0.01f)))
		layer->initializer = INITIALIZER_NORMAL_001;
	else if (same(weight, initializer_constant(0)))
		layer->initializer = INITIALIZER_NONE;
	else
		return error_set(error, ERROR_USAGE, "this version cannot draw its initial weight");
	return true;
}

// A chain names parameters after their layer.
static bool check_parameter(const struct tensor *parameter, const char *operation, const char *end, struct error *error)
{
	char name[2 * GRAPH_NAME_SIZE];
	snprintf(name, sizeof(name), "%s.%s", operation, end);
	if (parameter->use_count != 1)
		return error_set(error, ERROR_USAGE, "%s has several users; this version takes one", parameter->name);
	return strcmp(parameter->name, name) == 0 ||
	       error_set(error, ERROR_USAGE, "%s must be named %s", parameter->name, name);
}

static bool read_parameters(const struct graph *graph, const struct operation *operation, struct layer *layer,
			    struct error *error)
{
	if (operation->parameter_count != 2)
		return error_set(error, ERROR_USAGE, "it has no bias; this version needs one");
	const struct tensor *weight = &graph->parameters[operation->parameters[0]];
	layer->out_channels = weight->dims[0];
	layer->in_channels = weight->dims[1];
	return check_parameter(weight, operation->name, "weight", error) &&
	       check_parameter(&graph->parameters[operation->parameters[1]], operation->name, "bias", error) &&
	       read_initializer(graph, operation, layer, error);
}

static bool read_convolution(const struct graph *graph, const struct operation *operation, struct layer *layer,
			     struct error *error)
{
	const struct window *window = &operation->attributes.convolution.window;
	if (!window_is_plain(window) || operation->attributes.convolution.groups != 1)
		return error_set(error, ERROR_USAGE,
				 "this version computes square windows without groups and dilation");
	layer->kernel_size = window->kernel[0];
	layer->stride = window->stride[0];
	layer->padding = window->padding[0];
	return read_parameters(graph, operation, layer, error);
}

static bool read_max_pool(const struct operation *operation, struct layer *layer, struct error *error)
{
	const struct window *window = &operation->attributes.pool.window;
	if (!window_is_plain(window) || window->padding[0] != 0 || operation->attributes.pool.ceil_mode)
		return error_set(error, ERROR_USAGE,
				 "this version computes square windows without padding, dilation and ceil mode");
	layer->kernel_size = window->kernel[0];
	layer->stride = window->stride[0];
	return true;
}

static bool read_flatten(const struct graph *graph, const struct operation *operation, struct error *error)
{
	uint32_t rank = graph->values[operation->inputs[0]].rank;
	return (operation->attributes.flatten.first == 0 && operation->attributes.flatten.end == rank) ||
	       error_set(error, ERROR_USAGE, "this version flattens all dimensions");
}

static bool read_attributes(const struct graph *graph, const struct operation *operation, struct layer *layer,
			    struct error *error)
{
	switch (operation->kind) {
	case OPERATION_CONVOLUTION:
		layer->kind = LAYER_CONVOLUTION;
		return read_convolution(graph, operation, layer, error);
	case OPERATION_RELU:
		layer->kind = LAYER_RELU;
		return true;
	case OPERATION_MAX_POOL:
		layer->kind = LAYER_MAX_POOL;
		return read_max_pool(operation, layer, error);
	case OPERATION_ADAPTIVE_AVERAGE_POOL:
		layer->kind = LAYER_ADAPTIVE_AVERAGE_POOL;
		layer->output_size = operation->attributes.adaptive_pool.output[0];
		return is_square(operation->attributes.adaptive_pool.output) ||
		       error_set(error, ERROR_USAGE, "this version computes square outputs");
	case OPERATION_FLATTEN:
		layer->kind = LAYER_FLATTEN;
		return read_flatten(graph, operation, error);
	case OPERATION_DROPOUT:
		layer->kind = LAYER_DROPOUT;
		layer->probability = operation->attributes.dropout.probability;
		return true;
	case OPERATION_LINEAR:
		layer->kind = LAYER_LINEAR;
		return operation->attributes.linear.transposed
			       ? error_set(error, ERROR_USAGE, "this version computes weights of (out, in)")
			       : read_parameters(graph, operation, layer, error);
	default:
		return error_set(error, ERROR_USAGE, "this version does not compute this kind of operation");
	}
}

static bool read_layer(const struct graph *graph, uint32_t index, struct layer *layer, struct error *error)
{
	const struct operation *operation = &graph->operations[index];
	*layer = (struct layer){0};
	if (strlen(operation->name) >= sizeof(layer->name))
		return error_set(error, ERROR_USAGE, "its name is longer than %zu characters", sizeof(layer->name) - 1);
	strcpy(layer->name, operation->name);
	const struct value *input = &graph->values[operation->inputs[0]];
	if (input->producer != (index == 0 ? GRAPH_NONE : index - 1) || input->use_count != 1)
		return error_set(error, ERROR_USAGE,
				 "this version runs chains: it must take the output of the operation before it alone");
	return read_attributes(graph, operation, layer, error);
}

// Softmax cross entropy over classes, and nothing else.
static bool check_loss(const struct graph *graph, struct error *error)
{
	const struct operation *loss = &graph->operations[graph->loss];
	const struct value *scores = &graph->values[loss->inputs[0]];
	bool plain = loss->kind == OPERATION_CROSS_ENTROPY && scores->rank == 1 &&
		     scores->producer == graph->loss - 1 && !loss->attributes.cross_entropy.ignores &&
		     loss->attributes.cross_entropy.label_smoothing == 0;
	return plain || error_set(error, ERROR_USAGE,
				  "this version computes the loss of one class per sample, without label smoothing and "
				  "ignored labels");
}

static bool wrap(const struct graph *graph, uint32_t index, struct error *error)
{
	const struct operation *operation = &graph->operations[index];
	return error_wrap(error, "operation %u, %s (%s)", index, operation->name, operation_kind_name(operation->kind));
}

static bool read_images(const struct graph *graph, struct model *model, struct error *error)
{
	uint32_t index = graph_find_input(graph, "images");
	const struct value *images = index != GRAPH_NONE ? &graph->values[index] : NULL;
	if (images == NULL || images->rank != 3 || images->dims[0] != 3 || !is_square(&images->dims[1]) ||
	    graph->operations[0].inputs[0] != index)
		return error_set(
			error, ERROR_USAGE,
			"this version takes networks whose first operation reads an input \"images\" of (3, size, "
			"size)");
	model->image_size = images->dims[1];
	return true;
}

bool model_from_graph(const struct graph *graph, struct model *ret_model, struct error *error)
{
	struct model model = {.layer_count = graph->loss};
	if (strlen(graph->name) >= sizeof(model.name))
		return error_set(error, ERROR_USAGE, "the model's name is longer than %zu characters",
				 sizeof(model.name) - 1);
	strcpy(model.name, graph->name);
	if (!read_images(graph, &model, error))
		return false;
	for (uint32_t i = 0; i < graph->loss && i < MODEL_MAXIMUM_LAYERS; i++)
		if (!read_layer(graph, i, &model.layers[i], error))
			return wrap(graph, i, error);
	if (graph->loss < 1 || graph->loss > MODEL_MAXIMUM_LAYERS)
		return error_set(error, ERROR_USAGE, "%u operations before the loss; this version takes from 1 to %d",
				 graph->loss, MODEL_MAXIMUM_LAYERS);
	if (!check_loss(graph, error))
		return wrap(graph, graph->loss, error);
	model.classes = graph->values[graph->operations[graph->loss].inputs[0]].dims[0];
	if (!model_infer_shapes(&model, error))
		return false;
	*ret_model = model;
	return true;
}
