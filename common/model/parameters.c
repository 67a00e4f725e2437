// Learnable tensors: their numbers, names and shapes, and the values that training begins with.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/random.h"
#include "common/model/model.h"

static bool has_parameters(const struct layer *layer)
{
	return layer->kind == LAYER_CONVOLUTION || layer->kind == LAYER_LINEAR;
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

static void describe(const struct layer *layer, bool is_bias, struct parameter *parameter)
{
	parameter->is_bias = is_bias;
	snprintf(parameter->name, sizeof(parameter->name), "%s.%s", layer->name, is_bias ? "bias" : "weight");
	parameter->dimensions[0] = layer->out_channels;
	parameter->rank = 1;
	if (!is_bias) {
		parameter->dimensions[1] = layer->in_channels;
		parameter->rank = 2;
	}
	if (!is_bias && layer->kind == LAYER_CONVOLUTION) {
		parameter->dimensions[2] = parameter->dimensions[3] = layer->kernel_size;
		parameter->rank = 4;
	}
	parameter->count = 1;
	for (uint32_t i = 0; i < parameter->rank; i++)
		parameter->count *= parameter->dimensions[i];
}

void model_parameter(const struct model *model, uint32_t index, struct parameter *ret_parameter)
{
	uint32_t number = 0;
	*ret_parameter = (struct parameter){0};
	for (uint32_t i = 0; i < model->layer_count; i++) {
		if (!has_parameters(&model->layers[i]))
			continue;
		if (index < number + 2) {
			ret_parameter->layer = i;
			describe(&model->layers[i], index > number, ret_parameter);
			return;
		}
		number += 2;
	}
}

uint64_t layer_parameter_count(const struct layer *layer)
{
	if (!has_parameters(layer))
		return 0;
	struct parameter weight = {0}, bias = {0};
	describe(layer, false, &weight);
	describe(layer, true, &bias);
	return weight.count + bias.count;
}

// ---- Initial values: element e comes from word e % 4 of the Philox block e / 4 of the parameter's own key

static void draw_uniform(struct random_key key, float bound, uint64_t count, float *values)
{
	uint32_t words[4];
	for (uint64_t e = 0; e < count; e++) {
		if (e % 4 == 0)
			random_block(key, e / 4, 0, words);
		values[e] = (2.0f * random_uniform(words[e % 4]) - 1.0f) * bound;
	}
}

static void draw_normal(struct random_key key, float deviation, uint64_t count, float *values)
{
	for (uint64_t e = 0; e < count; e += 4) {
		uint32_t words[4];
		float normal[4];
		random_block(key, e / 4, 0, words);
		random_normal_pair(words[0], words[1], &normal[0], &normal[1]);
		random_normal_pair(words[2], words[3], &normal[2], &normal[3]);
		for (uint64_t i = 0; i < 4 && e + i < count; i++)
			values[e + i] = normal[i] * deviation;
	}
}

void model_draw_parameter(const struct model *model, const struct parameter *parameter, uint64_t seed,
			  float *ret_values)
{
	const struct layer *layer = &model->layers[parameter->layer];
	struct random_key key = random_key_make(seed, RANDOM_PARAMETERS, random_hash_name(parameter->name));
	double window = layer->kind == LAYER_CONVOLUTION ? (double)layer->kernel_size * layer->kernel_size : 1.0;
	double fan_in = window * layer->in_channels, fan_out = window * layer->out_channels;
	switch (layer->initializer) {
	case INITIALIZER_PYTORCH_DEFAULT:
		// kaiming_uniform_ with a = sqrt(5) is U(-1/sqrt(fan_in), 1/sqrt(fan_in)), and so is the bias.
		draw_uniform(key, (float)(1.0 / sqrt(fan_in)), parameter->count, ret_values);
		return;
	case INITIALIZER_KAIMING_NORMAL:
		if (!parameter->is_bias) {
			draw_normal(key, (float)sqrt(2.0 / fan_out), parameter->count, ret_values);
			return;
		}
		break;
	case INITIALIZER_NORMAL_001:
		if (!parameter->is_bias) {
			draw_normal(key, 0.01f, parameter->count, ret_values);
			return;
		}
		break;
	case INITIALIZER_NONE:
		break;
	}
	memset(ret_values, 0, parameter->count * sizeof(*ret_values));
}
