// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011). A draw is a pure function of its key and counter, so it does not matter which process,
// thread or stage draws it. Any thread.
#pragma once

#include <stdint.h>

// What a draw is for; part of every key, so that no two uses share a stream.
enum random_purpose {
	RANDOM_PARAMETERS = 1, // key: parameter's name;   counter: element
	RANDOM_SHUFFLE = 2,    // key: epoch;              counter: position
	RANDOM_DROPOUT = 3,    // key: layer's name;       counter: sample of the whole run, element
	RANDOM_DATASET = 4,    // key: file, image;        counter: draw
};

struct random_key {
	uint32_t word[2];
};

// Mixes seed, purpose and subject (a name's hash, an epoch) into a key.
struct random_key random_key_make(uint64_t seed, enum random_purpose purpose, uint64_t subject);
uint64_t random_hash_name(const char *name); // 64-bit FNV-1a

// One Philox block: counter (lo, hi as two 64-bit halves) to four 32-bit words.
void random_block(struct random_key key, uint64_t counter_low, uint64_t counter_high, uint32_t ret_words[4]);

float random_uniform(uint32_t word); // [0, 1), 24 bits
// Two independent normal draws from two words (Box-Muller).
void random_normal_pair(uint32_t word_a, uint32_t word_b, float *ret_a, float *ret_b);
// A uniform integer below `bound` (> 0), from one 64-bit draw at `counter`; bias below 2^-32.
uint32_t random_below(struct random_key key, uint64_t counter, uint32_t bound);
