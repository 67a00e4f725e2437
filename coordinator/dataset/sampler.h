// Which samples a step sees: each epoch a new order by seed (or the file's own), incomplete last batches dropped.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct sampler;

bool sampler_create(uint64_t samples, uint32_t batch_size, bool shuffle, uint64_t seed, struct sampler **ret_sampler,
		    struct error *error); // refuses a batch larger than the set, with both numbers
void sampler_destroy(struct sampler *sampler);
// The dataset indices of one step's batch: a pure function of (seed, step). `ret_indices` has batch_size entries.
void sampler_batch(struct sampler *sampler, uint64_t step, uint64_t *ret_indices);
uint64_t sampler_steps_per_epoch(const struct sampler *sampler);
