// See ring.h.
#include "common/schedule/ring.h"

enum { PIECE_ALIGNMENT = 16 }; // floats: a line of the cache

static uint64_t divide_up(uint64_t value, uint64_t by)
{
	return (value + by - 1) / by;
}

struct ring ring_make(uint64_t floats, uint32_t replicas, uint64_t bucket_bytes)
{
	struct ring ring = {.replicas = replicas};
	if (floats == 0)
		return ring;
	uint64_t most = bucket_bytes / sizeof(float) / replicas / PIECE_ALIGNMENT; // of a piece, in lines
	if (most == 0)
		most = 1;
	uint64_t lines = divide_up(floats, PIECE_ALIGNMENT);
	ring.buckets = (uint32_t)divide_up(lines, most * replicas);
	// Even buckets: the padding is less than a line for each piece.
	ring.piece_floats = divide_up(lines, (uint64_t)ring.buckets * replicas) * PIECE_ALIGNMENT;
	ring.floats = ring.buckets * replicas * ring.piece_floats;
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
	return (ring->floats + 2 * RING_DEPTH * ring->piece_floats) * sizeof(float);
}
