// The ring's arithmetic: every replica ends with the sum of all, whatever the numbers, and nothing is sent in vain.
#include "tests/unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "common/schedule/ring.h"

static void ring_make_lies_on_one_grid_for_the_whole_model(void **state)
{
	static const uint64_t totals[] = {1, 17, 4096, 57044810};
	static const uint64_t buckets[] = {1, 4096, 25 << 20};
	for (size_t t = 0; t < sizeof(totals) / sizeof(totals[0]); t++)
		for (uint32_t d = 2; d < 9; d++)
			for (size_t b = 0; b < sizeof(buckets) / sizeof(buckets[0]); b++) {
				uint64_t total = totals[t], half = total / 3;
				struct ring whole = ring_make(0, total, total, d, buckets[b]);
				struct ring last = ring_make(0, half, total, d, buckets[b]);
				struct ring first = ring_make(half, total - half, total, d, buckets[b]);
				uint64_t bucket = whole.piece_floats * d;
				assert_true(whole.floats == whole.buckets * bucket && whole.floats >= total);
				assert_true(whole.piece_floats % 16 == 0);
				assert_true(bucket * sizeof(float) <= buckets[b] || whole.piece_floats == 16);
				assert_true(bucket <= total / 16 + 16 * d || whole.piece_floats == 16);
				assert_true(first.piece_floats == whole.piece_floats);
				assert_true(first.first == half % bucket); // where the whole model's vector has it, too
				assert_true(first.floats >= first.first + total - half);
				assert_true(first.floats - total + half < 2 * bucket);
				assert_true(half == 0 || (last.first == 0 && last.piece_floats == whole.piece_floats));
			}
}

static void ring_make_nothing_has_no_buckets(void **state)
{
	struct ring ring = ring_make(10, 0, 100, 4, 1 << 20);
	assert_int_equal(ring.buckets, 0);
	assert_int_equal(ring_bytes(&ring), 0);
}

// All replicas hop at once; what one sends is what the next one receives.
static void run(uint32_t d, float *vectors, uint64_t piece)
{
	struct ring ring = {.replicas = d, .buckets = 1, .piece_floats = piece, .floats = piece * d};
	float *sent = malloc(d * piece * sizeof(float));
	for (uint32_t hop = 0; hop < ring_hops(&ring); hop++) {
		for (uint32_t r = 0; r < d; r++)
			memcpy(sent + r * piece, vectors + (r * d + ring_hop_at(&ring, r, hop).send) * piece,
			       piece * sizeof(float));
		for (uint32_t r = 0; r < d; r++) {
			struct ring_hop at = ring_hop_at(&ring, r, hop);
			uint32_t before = (r + d - 1) % d;
			assert_int_equal(at.receive, ring_hop_at(&ring, before, hop).send);
			float *into = vectors + (r * d + at.receive) * piece;
			for (uint64_t i = 0; i < piece; i++)
				into[i] = sent[before * piece + i] + (at.add ? into[i] : 0.0f);
		}
	}
	free(sent);
}

static void ring_hop_at_all_replicas_end_with_the_sum_of_all(void **state)
{
	enum { PIECE = 3 };
	for (uint32_t d = 2; d <= 7; d++) {
		uint64_t floats = (uint64_t)d * PIECE;
		float *vectors = malloc(d * floats * sizeof(float));
		for (uint32_t r = 0; r < d; r++)
			for (uint64_t i = 0; i < floats; i++)
				vectors[r * floats + i] = (float)((r + 1) * 100 + i); // sums are exact
		run(d, vectors, PIECE);
		for (uint32_t r = 0; r < d; r++)
			for (uint64_t i = 0; i < floats; i++)
				assert_true(vectors[r * floats + i] == (float)(d * (d + 1) / 2 * 100 + d * i));
		free(vectors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_make_lies_on_one_grid_for_the_whole_model),
		cmocka_unit_test(ring_make_nothing_has_no_buckets),
		cmocka_unit_test(ring_hop_at_all_replicas_end_with_the_sum_of_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
