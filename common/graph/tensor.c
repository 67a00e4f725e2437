// Initial values of parameters. See tensor.h.
#include "common/graph/tensor.h"

#include <math.h>

#include "common/base/random.h"

uint64_t tensor_elements(const struct tensor *tensor)
{
	uint64_t elements = 1;
	for (uint32_t i = 0; i < tensor->rank; i++)
		elements *= tensor->dims[i];
	return elements;
}

struct initializer initializer_constant(float value)
{
	return (struct initializer){INITIALIZER_CONSTANT, value};
}

struct initializer initializer_normal(float deviation)
{
	return (struct initializer){INITIALIZER_NORMAL, deviation};
}

struct initializer initializer_default(uint64_t fan_in)
{
	return (struct initializer){INITIALIZER_UNIFORM, (float)(1 / sqrt((double)fan_in))};
}

struct initializer initializer_kaiming_normal(uint64_t fan_out)
{
	return (struct initializer){INITIALIZER_NORMAL, (float)sqrt(2 / (double)fan_out)};
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

void initializer_draw(struct initializer initializer, const char *name, uint64_t count, uint64_t seed,
		      float *ret_values)
{
	struct random_key key = random_key_make(seed, RANDOM_PARAMETERS, random_hash_name(name));
	switch (initializer.kind) {
	case INITIALIZER_UNIFORM:
		draw_uniform(key, count, initializer.scale, ret_values);
		return;
	case INITIALIZER_NORMAL:
		draw_normal(key, count, initializer.scale, ret_values);
		return;
	case INITIALIZER_CONSTANT:
		break;
	}
	for (uint64_t i = 0; i < count; i++)
		ret_values[i] = initializer.scale;
}

void tensor_draw(const struct tensor *tensor, uint64_t seed, float *ret_values)
{
	initializer_draw(tensor->initializer, tensor->name, tensor_elements(tensor), seed, ret_values);
}
