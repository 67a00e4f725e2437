// Reads the micro-batches of a run on threads of its own, before they are needed: in the run's order, and no more than the micro-batches of
// one step at a time. A step has micro_batches x replicas of them: all replicas' first micro-batches come first. One thread uses it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "coordinator/dataset/dataset.h"
#include "coordinator/dataset/sampler.h"

struct read_ahead_options {
	const struct dataset *dataset;
	struct sampler *sampler; // used by nothing else until read_ahead_stop
	uint64_t steps;
	uint32_t micro_batch_size, micro_batches, replicas;
};

struct read_ahead;

bool read_ahead_start(const struct read_ahead_options *options, struct read_ahead **ret_ahead, struct error *error);
void read_ahead_stop(struct read_ahead *ahead); // takes NULL; waits for the sample that is being read
// Whether as many micro-batches as a step has can be taken, or the next one that cannot be read is known; waits up to `limit_ms` for that.
bool read_ahead_wait(struct read_ahead *ahead, uint32_t limit_ms);
// Takes the next micro-batch, a buffer for each tensor; waits for it. Returns owned. False with the error of reading it.
bool read_ahead_take(struct read_ahead *ahead, struct buffer *ret_buffers[DATASET_INPUTS], struct error *error);
