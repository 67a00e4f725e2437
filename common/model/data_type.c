// Names and conversions of element types. See data_type.h.
//
// The conversions have no branches, and sums of floats that are always needed (one that is not could trap, so that the
// compiler would branch around it): then it makes vector code of the loops. Nothing depends on how the processor treats
// float32's own denormals, which may be switched to zero: they are zero in float16, and bfloat16 shifts them as whole
// numbers.
#include "common/model/data_type.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static const char *const names[DATA_TYPE_COUNT] = {
	[DATA_FLOAT32] = "float32",
	[DATA_BFLOAT16] = "bfloat16",
	[DATA_FLOAT16] = "float16",
};

static const struct {
	const char *name;
	enum data_type type;
} other_names[] = {
	{"fp32", DATA_FLOAT32},
	{"bf16", DATA_BFLOAT16},
	{"bfp16", DATA_BFLOAT16},
	{"fp16", DATA_FLOAT16},
};

uint32_t data_type_bytes(enum data_type type)
{
	return type == DATA_FLOAT32 ? 4 : 2;
}

const char *data_type_name(enum data_type type)
{
	return names[type];
}

bool data_type_parse(const char *name, enum data_type *ret_type)
{
	for (int i = 0; i < DATA_TYPE_COUNT; i++)
		if (strcasecmp(name, names[i]) == 0) {
			*ret_type = (enum data_type)i;
			return true;
		}
	for (size_t i = 0; i < sizeof(other_names) / sizeof(other_names[0]); i++)
		if (strcasecmp(name, other_names[i].name) == 0) {
			*ret_type = other_names[i].type;
			return true;
		}
	return false;
}

static inline uint32_t bits_of(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static inline float float_of(uint32_t bits)
{
	float value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

// bfloat16 is the upper half of float32. Adding just under half of the lower half, and one more where the upper half is
// odd, carries into it when it is to be rounded up; a carry out of the largest number makes infinity, as it must.
static inline uint16_t bfloat16_of(float value)
{
	uint32_t bits = bits_of(value);
	uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
	uint32_t nan = bits >> 16 | 0x40; // quiet: its upper half alone could be an infinity
	return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

// float16: 1 sign, 5 exponent (bias 15) and 10 fraction bits.
static inline uint16_t float16_of(float value)
{
	uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
	uint32_t largest = 0x47800000; // 65536, from where all is infinity
	uint32_t within = magnitude < largest ? magnitude : largest;
	// Below 2^-14 it is a multiple of 2^-24, the last place of floats from 0.5 to 1, so that a sum with 0.5 rounds it.
	uint32_t small = -(uint32_t)(within < 0x38800000), half = small & 0x3f000000; // all bits or none; 0.5 or 0
	uint32_t sum = bits_of(float_of(within) + float_of(half));
	// From there: the exponent with the other bias, and 13 bits rounded away. 65520 and above carry into infinity.
	uint32_t normal = (sum - ((127 - 15) << 23) + 0xfff + (sum >> 13 & 1)) >> 13;
	uint32_t result = (small & (sum - half)) | (~small & normal);
	uint32_t nan =
		-(uint32_t)(magnitude > 0x7f800000) & (0x200 | (magnitude >> 13 & 0x1ff)); // beside infinity's bits
	return (uint16_t)(sign | result | nan);
}

static inline float float_of_float16(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = half & 0x7fff;
	uint32_t bits = (magnitude << 13) + ((127 - 15) << 23);
	bits += magnitude >= 0x7c00 ? (127 - 15) << 23 : 0; // infinity and NaN: the largest exponent again
	// A denormal is read as the normal number with the same fraction, whose leading 1 is subtracted.
	uint32_t leading = magnitude < 0x400 ? 0x38800000 : 0; // 2^-14
	bits += leading != 0 ? 1 << 23 : 0;
	return float_of(sign | bits_of(float_of(bits) - float_of(leading)));
}

void data_type_narrow(enum data_type type, uint64_t count, const float *from, void *to)
{
	const float *restrict source = from;
	uint16_t *restrict target = to;
	switch (type) {
	case DATA_BFLOAT16:
		for (uint64_t i = 0; i < count; i++)
			target[i] = bfloat16_of(source[i]);
		break;
	case DATA_FLOAT16:
		for (uint64_t i = 0; i < count; i++)
			target[i] = float16_of(source[i]);
		break;
	default:
		memcpy(to, from, count * sizeof(float));
		break;
	}
}

void data_type_widen(enum data_type type, uint64_t count, const void *from, float *to)
{
	const uint16_t *restrict source = from;
	float *restrict target = to;
	switch (type) {
	case DATA_BFLOAT16:
		for (uint64_t i = 0; i < count; i++)
			target[i] = float_of((uint32_t)source[i] << 16);
		break;
	case DATA_FLOAT16:
		for (uint64_t i = 0; i < count; i++)
			target[i] = float_of_float16(source[i]);
		break;
	default:
		memcpy(to, from, count * sizeof(float));
		break;
	}
}
