// Dropout. Whether element e (in row-major order) of sample s of the run is kept is a pure function of the seed, the
// layer's name, s and e: word e % 4 of the Philox block at counter (s, e / 4). The layout, the slot and the stage have
// no part in it. In place is sound: a dropped element's gradient is zero, and a kept one keeps its sign, which is all
// that a ReLU before it asks of its output.
#include <string.h>

#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

static bool dropout_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	if (state->layer->probability == 0.0f || !program->training)
		return true; // the identity, in any layout
	state->wanted_input = state->given_output = state->plain_input;
	state->wanted_for_input = state->given_gradient = state->plain_input;
	state->key = random_key_make(program->seed, RANDOM_DROPOUT, random_hash_name(state->layer->name));
	return true;
}

static bool dropout_place(struct program *program, struct layer_state *state, struct error *error)
{
	state->output = state->input;
	if (state->wanted_input == NULL)
		return true;
	return program_reserve(program, REGION_STASH, layout_bytes(state->plain_input) / sizeof(float),
			       &state->workspace, error);
}

enum { LANES = 16, GROUP = 4 * LANES };

struct dropout {
	struct random_key key;
	uint64_t first_sample, elements; // per sample
	float probability, scale;
	float *values;
	uint8_t *mask;
};

// random_block for counters (sample, block) ... (sample, block + LANES - 1), laid out as elements come. The rounds are
// those of common/base/random.c, side by side so that they fill vectors; a test compares the two.
static inline __attribute__((always_inline)) void random_group(struct random_key key, uint64_t sample, uint64_t block,
							       uint32_t words[GROUP])
{
	uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
	uint32_t k0 = key.word[0], k1 = key.word[1];
	for (int i = 0; i < LANES; i++) {
		c0[i] = (uint32_t)sample;
		c1[i] = (uint32_t)(sample >> 32);
		c2[i] = (uint32_t)(block + (uint64_t)i);
		c3[i] = (uint32_t)((block + (uint64_t)i) >> 32);
	}
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < LANES; i++) {
			uint64_t product_0 = (uint64_t)0xD2511F53u * c0[i];
			uint64_t product_1 = (uint64_t)0xCD9E8D57u * c2[i];
			c0[i] = (uint32_t)(product_1 >> 32) ^ c1[i] ^ k0;
			c2[i] = (uint32_t)(product_0 >> 32) ^ c3[i] ^ k1;
			c1[i] = (uint32_t)product_1;
			c3[i] = (uint32_t)product_0;
		}
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	for (size_t i = 0; i < LANES; i++) {
		words[4 * i] = c0[i];
		words[4 * i + 1] = c1[i];
		words[4 * i + 2] = c2[i];
		words[4 * i + 3] = c3[i];
	}
}

// What is dropped becomes 0, but NaN and infinity become NaN, as in PyTorch, which multiplies by 0.
VECTOR_CLONES static void drop_samples(void *context, uint64_t begin, uint64_t end)
{
	const struct dropout *d = context;
	for (uint64_t sample = begin; sample < end; sample++) {
		float *restrict values = d->values + sample * d->elements;
		uint8_t *restrict mask = d->mask + sample * d->elements;
		for (uint64_t e = 0; e < d->elements; e += GROUP) {
			uint32_t words[GROUP];
			random_group(d->key, d->first_sample + sample, e / 4, words);
			uint64_t count = d->elements - e < GROUP ? d->elements - e : GROUP;
			for (uint64_t i = 0; i < count; i++) {
				// random_uniform, written out so that it is a vector's work too
				bool keep = (float)(int32_t)(words[i] >> 8) * 0x1p-24f >= d->probability;
				mask[e + i] = keep;
				values[e + i] = keep ? values[e + i] * d->scale : values[e + i] - values[e + i];
			}
		}
	}
}

VECTOR_CLONES static void drop_gradients(void *context, uint64_t begin, uint64_t end)
{
	const struct dropout *d = context;
	float *restrict values = d->values;
	const uint8_t *restrict mask = d->mask;
	for (uint64_t i = begin; i < end; i++)
		values[i] = mask[i] ? values[i] * d->scale : values[i] - values[i];
}

static float scale_of(const struct layer *layer)
{
	return layer->probability < 1.0f ? 1.0f / (1.0f - layer->probability) : 0.0f;
}

static bool dropout_forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample)
{
	if (state->wanted_input == NULL)
		return true;
	struct dropout dropout = {
		.key = state->key,
		.first_sample = first_sample,
		.elements = shape_count(state->layer->input),
		.probability = state->layer->probability,
		.scale = scale_of(state->layer),
		.values = program_pointer(program, &state->output.block, slot),
		.mask = program_pointer(program, &state->workspace, slot),
	};
	vector_for(program->device->threads, program->n, 1, drop_samples, &dropout);
	return true;
}

static bool dropout_backward_input(struct program *program, struct layer_state *state, uint32_t slot)
{
	if (state->wanted_input == NULL)
		return true;
	struct dropout dropout = {
		.scale = scale_of(state->layer),
		.values = program_gradient(program),
		.mask = program_pointer(program, &state->workspace, slot),
	};
	vector_for(program->device->threads, program->n * shape_count(state->layer->input), VECTOR_CHUNK,
		   drop_gradients, &dropout);
	return true;
}

const struct layer_class dropout_class = {
	.in_place = true,
	.prepare = dropout_prepare,
	.place = dropout_place,
	.forward = dropout_forward,
	.backward_input = dropout_backward_input,
};
