// The coordinator's data on its way to a stage: images for the first, labels for the last, a few steps ahead. They come
// in one order, step by step and micro-batch by micro-batch, and anything else is refused.
//
// Threads: put on gRPC's threads (one stream: never two at once), take on the executor's, close anywhere;
// release anywhere, in the order of takes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/job/step.h"
#include "common/rpc/rpc.h"

struct batches_options {
	uint64_t bytes[BATCH_KIND_COUNT]; // of a micro-batch; 0: this stage takes none
	uint32_t micro_batches;
	uint32_t steps; // that may wait here at once
	uint32_t classes;
};

struct batches;

// Takes data only after batches_allocate.
bool batches_create(const struct batches_options *options, struct batches **ret_batches, struct error *error);
void batches_destroy(struct batches *batches);                 // takes NULL
uint64_t batches_bytes(const struct batches_options *options); // what batches_allocate allocates
bool batches_allocate(struct batches *batches, const struct buffer_memory *memory, struct error *error);
// Copies the payload. ERROR_PROTOCOL names what came and what was expected.
bool batches_put(struct batches *batches, enum batch_kind kind, uint64_t step, uint32_t micro_batch,
		 const struct rpc_incoming *incoming, struct error *error);
// Waits for the next in order; borrowed until its batches_release. NULL once closed.
const uint8_t *batches_take(struct batches *batches, enum batch_kind kind);
// The first one taken and not yet released: its place may be filled again.
void batches_release(struct batches *batches, enum batch_kind kind);
void batches_close(struct batches *batches);
