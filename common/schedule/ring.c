// See ring.h.
#include "common/schedule/ring.h"

enum {
	PIECE_ALIGNMENT = 16, // floats: a line of the cache
	MINIMUM_BUCKETS = 16,
};

static uint64_t divide_up(uint64_t value, uint64_t by)
{
	return (value + by - 1) / by;
}

struct ring ring_make(uint64_t behind, uint64_t floats, uint64_t total, uint32_t replicas, uint64_t bucket_bytes)
{
	struct ring ring = {.replicas = replicas};
	if (floats == 0)
		return ring;
	uint64_t lines = divide_up(total, PIECE_ALIGNMENT);
	uint64_t most = bucket_bytes / sizeof(float) / replicas / PIECE_ALIGNMENT; // of a piece, in lines
	uint64_t even = divide_up(lines, (uint64_t)MINIMUM_BUCKETS * replicas);
	most = most < even ? most : even;
	ring.piece_floats = (most > 0 ? most : 1) * PIECE_ALIGNMENT;
	uint64_t bucket = replicas * ring.piece_floats;
	ring.first = behind % bucket;
	ring.buckets = divide_up(ring.first + floats, bucket);
	ring.floats = ring.buckets * bucket;
	return ring;
}

struct ring_hop ring_hop_at(const struct ring *ring, uint32_t replica, uint32_t hop)
{
	uint32_t d = ring->replicas, half = d - 1;
	// Replica r begins with its own piece r and ends the first half with the sum of piece r + 1, which the second half begins with.
	uint32_t sent = hop < half ? replica + d - hop : replica + 1 + d - (hop - half);
	return (struct ring_hop){.send = sent % d, .receive = (sent + d - 1) % d, .add = hop < half};
}

uint64_t ring_bytes(const struct ring *ring)
{
	return (ring->floats + UINT64_C(2) * RING_DEPTH * ring->piece_floats) * sizeof(float);
}
