// Where tensors from a neighbour arrive: a ring of `depth` buffers. The plan fixes in which order tensors come and how
// each is cut, so for every connection exactly one chunk is next; any other is refused with what was expected.
// Not here: the network (link.h).
//
// Threads: chunks come on gRPC's threads, for one connection never two at once; take belongs to the executor; release may come from
// any, in the order of takes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/job/tensor.h"
#include "stage_server/exchange/tensor_shape.h"

struct mailbox_options {
	struct tensor_shape shape;
	enum tensor_kind kind; // of what comes in
	uint32_t depth;        // 0: nothing does
	uint32_t connections;
	uint32_t chunk_bytes;
	uint32_t tensors_per_step; // one for each micro-batch, or all pieces
	// [tensors_per_step]: which micro-batch comes first, second, ... in a step; copied. NULL: 0, 1, ...
	const uint32_t *order;
	const struct buffer_memory *memory; // of the ring; copied
};

enum mailbox_status {
	MAILBOX_OK,
	MAILBOX_LOST,   // the neighbour is gone: nothing more will come
	MAILBOX_CLOSED, // the session ends here
};

struct mailbox;

bool mailbox_create(const struct mailbox_options *options, struct mailbox **ret_mailbox, struct error *error);
void mailbox_destroy(struct mailbox *mailbox);                 // takes NULL
uint64_t mailbox_bytes(const struct mailbox_options *options); // what it allocates

// Says where the chunk's payload (of `size` bytes) belongs. ERROR_PROTOCOL names what came and what was expected.
bool mailbox_begin_chunk(struct mailbox *mailbox, uint32_t connection, const struct tensor_chunk *chunk, size_t size,
			 uint8_t **ret_destination, struct error *error);
// The payload is there; at most one begin per connection may be open.
void mailbox_end_chunk(struct mailbox *mailbox, uint32_t connection);

// Waits for the next tensor in order; borrowed until its mailbox_release.
enum mailbox_status mailbox_take(struct mailbox *mailbox, const void **ret_values);
void mailbox_release(struct mailbox *mailbox); // the first taken one's place may be filled again: the sender's credit
void mailbox_lose(struct mailbox *mailbox);    // wakes the waiter when nothing whole is left for it
void mailbox_close(struct mailbox *mailbox);   // wakes the waiter at once
