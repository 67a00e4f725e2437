// See rule.h. The mixing function is "lowbias32" (Chris Wellons, hash-prospector).
#include "tests/unit/device/rule.h"

#include <stdio.h>

uint32_t rule_subject(const char *name)
{
	uint32_t subject = 0x811C9DC5u;
	for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++)
		subject = (subject ^ *c) * 0x01000193u;
	return subject;
}

uint32_t rule_hash(uint32_t subject, uint32_t element)
{
	uint32_t x = element * 0x9E3779B1u + subject;
	x ^= x >> 16;
	x *= 0x7FEB352Du;
	x ^= x >> 15;
	x *= 0x846CA68Bu;
	x ^= x >> 16;
	return x;
}

void rule_fill(const char *name, float scale, uint64_t count, float *ret_values)
{
	uint32_t subject = rule_subject(name);
	for (uint64_t i = 0; i < count; i++)
		ret_values[i] = ((float)(rule_hash(subject, (uint32_t)i) >> 8) * 0x1p-23f - 1.0f) * scale;
}

void rule_fill_bytes(const char *name, uint64_t count, uint8_t *ret_values)
{
	uint32_t subject = rule_subject(name);
	for (uint64_t i = 0; i < count; i++)
		ret_values[i] = (uint8_t)(rule_hash(subject, (uint32_t)i) >> 24);
}

void rule_fill_labels(const char *name, uint64_t count, uint32_t classes, uint8_t *ret_labels)
{
	uint32_t subject = rule_subject(name);
	for (uint64_t i = 0; i < count; i++)
		ret_labels[i] = (uint8_t)((uint64_t)rule_hash(subject, (uint32_t)i) * classes >> 32);
}

uint64_t rule_sample(const char *name, uint32_t index, uint64_t count)
{
	char salted[160];
	snprintf(salted, sizeof(salted), "%s.sample", name);
	return (uint64_t)rule_hash(rule_subject(salted), index) * count >> 32;
}
