// Philox4x32-10. See random.h.
#include "common/base/random.h"

#include <math.h>

static const uint32_t multiplier_0 = 0xD2511F53u;
static const uint32_t multiplier_1 = 0xCD9E8D57u;
static const uint32_t weyl_0 = 0x9E3779B9u;
static const uint32_t weyl_1 = 0xBB67AE85u;

void random_block(struct random_key key, uint64_t counter_low, uint64_t counter_high, uint32_t ret_words[4])
{
	uint32_t c0 = (uint32_t)counter_low, c1 = (uint32_t)(counter_low >> 32);
	uint32_t c2 = (uint32_t)counter_high, c3 = (uint32_t)(counter_high >> 32);
	uint32_t k0 = key.word[0], k1 = key.word[1];
	for (int round = 0; round < 10; round++) {
		uint64_t product_0 = (uint64_t)multiplier_0 * c0;
		uint64_t product_1 = (uint64_t)multiplier_1 * c2;
		uint32_t n0 = (uint32_t)(product_1 >> 32) ^ c1 ^ k0;
		uint32_t n2 = (uint32_t)(product_0 >> 32) ^ c3 ^ k1;
		c1 = (uint32_t)product_1;
		c3 = (uint32_t)product_0;
		c0 = n0;
		c2 = n2;
		k0 += weyl_0;
		k1 += weyl_1;
	}
	ret_words[0] = c0;
	ret_words[1] = c1;
	ret_words[2] = c2;
	ret_words[3] = c3;
}

struct random_key random_key_make(uint64_t seed, enum random_purpose purpose, uint64_t subject)
{
	uint32_t words[4];
	struct random_key by_seed = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
	random_block(by_seed, subject, (uint64_t)purpose, words);
	return (struct random_key){{words[0], words[1]}};
}

uint64_t random_hash_name(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++)
		hash = (hash ^ *c) * 0x100000001b3u;
	return hash;
}

float random_uniform(uint32_t word)
{
	return (float)(word >> 8) * 0x1p-24f;
}

void random_normal_pair(uint32_t word_a, uint32_t word_b, float *ret_a, float *ret_b)
{
	double u = ((double)word_a + 1.0) * 0x1p-32; // (0, 1]: its logarithm is finite
	double v = (double)word_b * 0x1p-32;
	double radius = sqrt(-2.0 * log(u));
	double angle = 6.283185307179586 * v;
	*ret_a = (float)(radius * cos(angle));
	*ret_b = (float)(radius * sin(angle));
}

uint32_t random_below(struct random_key key, uint64_t counter, uint32_t bound)
{
	uint32_t words[4];
	random_block(key, counter, 0, words);
	uint64_t wide = (uint64_t)words[0] << 32 | words[1];
	return (uint32_t)((unsigned __int128)wide * bound >> 64);
}
