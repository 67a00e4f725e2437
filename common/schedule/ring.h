// How the replicas of a stage sum their gradients: a ring of reduce-scatter and all-gather (Patarasuk and Yuan, "Bandwidth
// optimal all-reduce algorithms", 2009), bucket by bucket. The gradients are a vector, the last layer's first, as the backward pass
// gives them; it is cut into buckets of `replicas` pieces each, all pieces of one size. The cuts lie on one grid for the whole
// model, whose stages share its vector between them: in which order a gradient is summed does not depend on where the model is
// cut, and neither do the bits. A stage's first and last bucket may be padded. Pure arithmetic; any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { RING_DEPTH = 2 }; // pieces that may be on their way to a replica, and unread at it

struct ring {                  // of one stage
	uint32_t replicas;     // from 2
	uint64_t buckets;      // 0: there is nothing to sum
	uint64_t piece_floats; // a multiple of 16
	uint64_t first;        // where in its vector the stage's gradients begin: in the first bucket
	uint64_t floats;       // of the vector with its padding: buckets * replicas * piece_floats
};

// The stage has `floats` parameters, the stages behind it `behind`, and the whole model `total`; `replicas` is from 2. Buckets have
// `bucket_bytes` at most, unless that is less than 64 bytes a piece, and there are at least 16 of them in the model, so that what
// a stage pads is little beside it.
struct ring ring_make(uint64_t behind, uint64_t floats, uint64_t total, uint32_t replicas, uint64_t bucket_bytes);

// The hops of a bucket, 0 .. ring_hops - 1: at each, every replica sends one piece to the next one and receives another from the
// one before. In the first half what comes is added to the replica's own, after which it holds one piece's sum; in the second
// half sums are passed on. So every sum is made in one order, and all replicas hold the same bits.
struct ring_hop {
	uint32_t send, receive; // pieces of the bucket
	bool add;
};
static inline uint32_t ring_hops(const struct ring *ring)
{
	return 2 * (ring->replicas - 1);
}
struct ring_hop ring_hop_at(const struct ring *ring, uint32_t replica, uint32_t hop);
// Memory of a stage for it: the vector, and the pieces on their way.
uint64_t ring_bytes(const struct ring *ring);
