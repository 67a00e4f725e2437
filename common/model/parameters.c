// The parameters of a model: their numbering, names and initial values. Values are drawn by counter, so that
// any stage draws any parameter the same, whatever else it holds.
#include <stdio.h>

#include "common/graph/tensor.h"
#include "common/model/model.h"

static bool has_parameters(const struct layer *layer)
{
	return layer->kind == LAYER_CONVOLUTION || layer->kind == LAYER_LINEAR;
}

// Inputs of one output, which is what one element of the output sums over.
static uint64_t fan_in(const struct layer *layer)
{
	uint64_t window = layer->kind == LAYER_CONVOLUTION ? (uint64_t)layer->kernel_size * layer->kernel_size : 1;
	return layer->in_channels * window;
}

static uint64_t fan_out(const struct layer *layer)
{
	uint64_t window = layer->kind == LAYER_CONVOLUTION ? (uint64_t)layer->kernel_size * layer->kernel_size : 1;
	return layer->out_channels * window;
}

uint64_t layer_parameter_count(const struct layer *layer)
{
	return has_parameters(layer) ? layer->out_channels * fan_in(layer) + layer->out_channels : 0;
}

uint64_t model_parameter_floats(const struct model *model, uint32_t first_layer, uint32_t end_layer)
{
	uint64_t floats = 0;
	for (uint32_t i = first_layer; i < end_layer; i++)
		floats += layer_parameter_count(&model->layers[i]);
	return floats;
}

uint32_t model_first_parameter(const struct model *model, uint32_t layer)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < layer && i < model->layer_count; i++)
		count += has_parameters(&model->layers[i]) ? 2 : 0;
	return count;
}

uint32_t model_parameter_count(const struct model *model)
{
	return model_first_parameter(model, model->layer_count);
}

void model_parameter(const struct model *model, uint32_t index, struct parameter *ret_parameter)
{
	uint32_t layer_index = 0;
	for (uint32_t before = 0; layer_index < model->layer_count; layer_index++) {
		if (!has_parameters(&model->layers[layer_index]))
			continue;
		if (index < before + 2)
			break;
		before += 2;
	}
	const struct layer *layer = &model->layers[layer_index];
	struct parameter parameter = {
		.layer = layer_index,
		.is_bias = index % 2 == 1,
		.rank = 1,
		.dimensions = {layer->out_channels},
		.count = layer->out_channels,
	};
	if (!parameter.is_bias) {
		parameter.rank = 2;
		parameter.dimensions[1] = layer->in_channels;
		parameter.count = layer->out_channels * fan_in(layer);
		if (layer->kind == LAYER_CONVOLUTION) {
			parameter.rank = 4;
			parameter.dimensions[2] = parameter.dimensions[3] = layer->kernel_size;
		}
	}
	snprintf(parameter.name, sizeof(parameter.name), "%s.%s", layer->name, parameter.is_bias ? "bias" : "weight");
	*ret_parameter = parameter;
}

static struct initializer initializer_of(const struct layer *layer, bool is_bias)
{
	switch (layer->initializer) {
	case INITIALIZER_PYTORCH_DEFAULT: // the bias has the weight's bound
		return initializer_default(fan_in(layer));
	case INITIALIZER_KAIMING_NORMAL:
		return is_bias ? initializer_constant(0) : initializer_kaiming_normal(fan_out(layer));
	case INITIALIZER_NORMAL_001:
		return is_bias ? initializer_constant(0) : initializer_normal(0.01f);
	case INITIALIZER_NONE:
		break;
	}
	return initializer_constant(0);
}

void model_draw_parameter(const struct model *model, const struct parameter *parameter, uint64_t seed,
			  float *ret_values)
{
	initializer_draw(initializer_of(&model->layers[parameter->layer], parameter->is_bias), parameter->name,
			 parameter->count, seed, ret_values);
}
