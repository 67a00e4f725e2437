// The parameters of a model: their numbering, names and initial values. Values are drawn by counter, so that
// any stage draws any parameter the same, whatever else it holds.
#include <math.h>
#include <stdio.h>

#include "common/base/random.h"
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

static void fill_constant(uint64_t count, float value, float *ret_values)
{
	for (uint64_t i = 0; i < count; i++)
		ret_values[i] = value;
}

// Element i takes word i % 4 of block i / 4.
static void draw_uniform(struct random_key key, uint64_t count, float bound, float *ret_values)
{
	for (uint64_t i = 0; i < count; i += 4) {
		uint32_t words[4];
		random_block(key, i / 4, 0, words);
		for (uint64_t j = 0; j < 4 && i + j < count; j++)
			ret_values[i + j] = (2 * random_uniform(words[j]) - 1) * bound;
	}
}

// Elements i and i + 1, i even, are a Box-Muller pair of the block's first or second half.
static void draw_normal(struct random_key key, uint64_t count, float deviation, float *ret_values)
{
	for (uint64_t i = 0; i < count; i += 4) {
		uint32_t words[4];
		float normal[4];
		random_block(key, i / 4, 0, words);
		random_normal_pair(words[0], words[1], &normal[0], &normal[1]);
		random_normal_pair(words[2], words[3], &normal[2], &normal[3]);
		for (uint64_t j = 0; j < 4 && i + j < count; j++)
			ret_values[i + j] = normal[j] * deviation;
	}
}

void model_draw_parameter(const struct model *model, const struct parameter *parameter, uint64_t seed,
			  float *ret_values)
{
	const struct layer *layer = &model->layers[parameter->layer];
	struct random_key key = random_key_make(seed, RANDOM_PARAMETERS, random_hash_name(parameter->name));
	switch (layer->initializer) {
	case INITIALIZER_PYTORCH_DEFAULT:
		// torch.nn.init.kaiming_uniform_(a=sqrt(5)) of the weight comes to the bias's bound.
		draw_uniform(key, parameter->count, (float)(1 / sqrt((double)fan_in(layer))), ret_values);
		return;
	case INITIALIZER_KAIMING_NORMAL:
	case INITIALIZER_NORMAL_001:
		if (parameter->is_bias)
			break;
		draw_normal(key, parameter->count,
			    layer->initializer == INITIALIZER_NORMAL_001 ? 0.01f
									 : (float)sqrt(2 / (double)fan_out(layer)),
			    ret_values);
		return;
	case INITIALIZER_NONE:
		break;
	}
	fill_constant(parameter->count, 0, ret_values);
}
