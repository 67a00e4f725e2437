// Which samples a step sees. See sampler.h.
//
// An epoch's order is a Fisher-Yates shuffle of 0 ... samples-1 whose draws are keyed by seed and epoch, so
// any step's batch can be had without those before it: a run that goes on from step 1000 sees what it would
// have seen.
#include "coordinator/dataset/sampler.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/random.h"

struct sampler {
	uint32_t samples, batch_size;
	uint64_t seed;
	uint32_t *order;      // of `order_epoch`; NULL: the file's own order
	uint64_t order_epoch; // UINT64_MAX: none yet
};

bool sampler_create(uint64_t samples, uint32_t batch_size, bool shuffle, uint64_t seed, struct sampler **ret_sampler,
		    struct error *error)
{
	if (batch_size == 0)
		return error_set(error, ERROR_USAGE, "the batch size is 0");
	if (batch_size > samples)
		return error_set(error, ERROR_USAGE,
				 "a batch of %" PRIu32 " samples is larger than the dataset, which has %" PRIu64,
				 batch_size, samples);
	if (samples > UINT32_MAX)
		return error_set(error, ERROR_USAGE, "the dataset has %" PRIu64 " samples; the maximum is %" PRIu32,
				 samples, UINT32_MAX);
	struct sampler *sampler = calloc(1, sizeof(*sampler));
	uint32_t *order = shuffle ? malloc(samples * sizeof(*order)) : NULL;
	if (sampler == NULL || (shuffle && order == NULL)) {
		free(sampler);
		free(order);
		return error_set(error, ERROR_FAILED, "no memory for the order of %" PRIu64 " samples", samples);
	}
	sampler->samples = (uint32_t)samples;
	sampler->batch_size = batch_size;
	sampler->seed = seed;
	sampler->order = order;
	sampler->order_epoch = UINT64_MAX;
	*ret_sampler = sampler;
	return true;
}

void sampler_destroy(struct sampler *sampler)
{
	if (sampler == NULL)
		return;
	free(sampler->order);
	free(sampler);
}

static void shuffle_epoch(struct sampler *sampler, uint64_t epoch)
{
	struct random_key key = random_key_make(sampler->seed, RANDOM_SHUFFLE, epoch);
	for (uint32_t i = 0; i < sampler->samples; i++)
		sampler->order[i] = i;
	for (uint32_t i = sampler->samples - 1; i > 0; i--) {
		uint32_t j = random_below(key, i, i + 1);
		uint32_t swapped = sampler->order[i];
		sampler->order[i] = sampler->order[j];
		sampler->order[j] = swapped;
	}
	sampler->order_epoch = epoch;
}

uint64_t sampler_steps_per_epoch(const struct sampler *sampler)
{
	return sampler->samples / sampler->batch_size;
}

void sampler_batch(struct sampler *sampler, uint64_t step, uint64_t *ret_indices)
{
	uint64_t steps_per_epoch = sampler_steps_per_epoch(sampler);
	uint64_t epoch = step / steps_per_epoch;
	uint64_t first = step % steps_per_epoch * sampler->batch_size;
	if (sampler->order != NULL && sampler->order_epoch != epoch)
		shuffle_epoch(sampler, epoch);
	for (uint32_t i = 0; i < sampler->batch_size; i++)
		ret_indices[i] = sampler->order != NULL ? sampler->order[first + i] : first + i;
}
