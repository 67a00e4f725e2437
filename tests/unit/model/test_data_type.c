// Element types: names, and conversions held against the formats' definitions, known values, and the compiler's own
// float16 where it has one.
#include "tests/unit/cmocka_all.h"

#include <math.h>
#include <string.h>

#include "common/model/data_type.h"

static uint16_t narrow(enum data_type type, float value)
{
	uint16_t bits = 0xabcd;
	data_type_narrow(type, 1, &value, &bits);
	return bits;
}

static float widen(enum data_type type, uint16_t bits)
{
	float value = -7;
	data_type_widen(type, 1, &bits, &value);
	return value;
}

static float float_of(uint32_t bits)
{
	float value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

static uint32_t bits_of(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

// By the formats' definitions: 1 sign bit, `exponent_bits` with a bias of 2^(exponent_bits - 1) - 1, the rest fraction.
static double defined_value(enum data_type type, uint16_t bits)
{
	int exponent_bits = type == DATA_FLOAT16 ? 5 : 8, fraction_bits = 15 - exponent_bits;
	int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
	int exponent = bits >> fraction_bits & top, fraction = bits & ((1 << fraction_bits) - 1);
	double sign = bits >> 15 ? -1.0 : 1.0;
	if (exponent == top)
		return fraction != 0 ? NAN : sign * INFINITY;
	if (exponent == 0)
		return sign * ldexp(fraction, 1 - bias - fraction_bits);
	return sign * ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

static const enum data_type narrow_types[] = {DATA_BFLOAT16, DATA_FLOAT16};

static void names_parse_in_any_case(void **state)
{
	static const struct {
		const char *name;
		enum data_type type;
	} cases[] = {
		{"float32", DATA_FLOAT32}, {"fp32", DATA_FLOAT32},   {"bfloat16", DATA_BFLOAT16},
		{"bf16", DATA_BFLOAT16},   {"BFP16", DATA_BFLOAT16}, {"Float16", DATA_FLOAT16},
		{"FP16", DATA_FLOAT16},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum data_type type = DATA_TYPE_COUNT;
		assert_true(data_type_parse(cases[i].name, &type));
		assert_int_equal(type, cases[i].type);
		type = DATA_TYPE_COUNT;
		assert_true(data_type_parse(data_type_name(cases[i].type), &type));
		assert_int_equal(type, cases[i].type);
	}
	static const char *const bad[] = {"", "fp", "fp8", "half", "fp16 ", "float", "tf32"};
	enum data_type type = DATA_BFLOAT16;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(data_type_parse(bad[i], &type));
	assert_int_equal(type, DATA_BFLOAT16);
	assert_int_equal(data_type_bytes(DATA_FLOAT32), 4);
	assert_int_equal(data_type_bytes(DATA_BFLOAT16), 2);
	assert_int_equal(data_type_bytes(DATA_FLOAT16), 2);
}

static void widen_every_number_is_its_definition(void **state)
{
	for (int t = 0; t < 2; t++)
		for (uint32_t bits = 0; bits < 0x10000; bits++) {
			double expected = defined_value(narrow_types[t], (uint16_t)bits);
			float value = widen(narrow_types[t], (uint16_t)bits);
			if (isnan(expected) ? !isnan(value) || !signbit(value) != !(bits & 0x8000)
					    : bits_of(value) != bits_of((float)expected))
				fail_msg("%s 0x%04x: %a, not %a", data_type_name(narrow_types[t]), bits, value,
					 expected);
		}
}

static void narrow_gives_every_number_back(void **state)
{
	for (int t = 0; t < 2; t++)
		for (uint32_t bits = 0; bits < 0x10000; bits++) {
			double value = defined_value(narrow_types[t], (uint16_t)bits);
			uint16_t back = narrow(narrow_types[t], widen(narrow_types[t], (uint16_t)bits));
			if (isnan(value) ? !isnan(defined_value(narrow_types[t], back)) : back != bits)
				fail_msg("%s 0x%04x: 0x%04x", data_type_name(narrow_types[t]), bits, back);
		}
}

// Between each two neighbours: the middle goes to the even one, and the floats beside the middle to the nearer one. Behind
// the largest number infinity stands for the next.
static void narrow_rounds_to_nearest_ties_to_even(void **state)
{
	for (int t = 0; t < 2; t++) {
		enum data_type type = narrow_types[t];
		uint16_t infinity = type == DATA_FLOAT16 ? 0x7c00 : 0x7f80;
		for (uint32_t low = 0; low < infinity; low++) {
			double a = defined_value(type, (uint16_t)low), b = defined_value(type, (uint16_t)(low + 1));
			if (low + 1u == infinity)
				b = a + (a - defined_value(type, (uint16_t)(low - 1)));
			float middle = (float)((a + b) / 2);
			if ((double)middle != (a + b) / 2) // of two bfloat16 next to float32's smallest: none are
				fail_msg("the middle of 0x%04x and the next is no float", low);
			for (int sign = 0; sign < 2; sign++) {
				float m = sign ? -middle : middle, towards_zero = nextafterf(m, 0),
				      away = nextafterf(m, sign ? -INFINITY : INFINITY);
				uint32_t s = sign ? 0x8000 : 0, even = low % 2 == 0 ? low : low + 1;
				if (narrow(type, m) != (s | even) || narrow(type, towards_zero) != (s | low) ||
				    narrow(type, away) != (s | (low + 1)))
					fail_msg("%s, beside 0x%04x: %a gives 0x%04x, %a 0x%04x, %a 0x%04x",
						 data_type_name(type), low, towards_zero, narrow(type, towards_zero), m,
						 narrow(type, m), away, narrow(type, away));
			}
		}
	}
}

static void narrow_known_values(void **state)
{
	static const struct {
		float value;
		uint16_t float16, bfloat16;
	} cases[] = {
		{0.0f, 0x0000, 0x0000},
		{-0.0f, 0x8000, 0x8000},
		{1.0f, 0x3c00, 0x3f80},
		{-2.0f, 0xc000, 0xc000},
		{0.1f, 0x2e66, 0x3dcd},
		{1.0f / 3, 0x3555, 0x3eab},
		{3.14159274f, 0x4248, 0x4049},
		{65504.0f, 0x7bff, 0x4780}, // float16's largest
		{65519.996f, 0x7bff, 0x4780},
		{65520.0f, 0x7c00, 0x4780},
		{1e38f, 0x7c00, 0x7e96},
		{-3.4028235e38f, 0xfc00, 0xff80}, // float32's largest is beyond bfloat16's
		{3.3895314e38f, 0x7c00, 0x7f7f},  // bfloat16's largest
		{INFINITY, 0x7c00, 0x7f80},
		{-INFINITY, 0xfc00, 0xff80},
		{0x1p-14f, 0x0400, 0x3880}, // float16's smallest normal, and its smallest
		{0x1p-24f, 0x0001, 0x3380},
		{0x1p-25f, 0x0000, 0x3300},
		{0x1.000002p-25f, 0x0001, 0x3300},
		{-0x1.8p-24f, 0x8002, 0xb3c0},
		{0x1.ff8p-15f, 0x03ff, 0x3880}, // its largest denormal, and halfway to the next
		{0x1.ffcp-15f, 0x0400, 0x3880},
		{0x1p-126f, 0x0000, 0x0080}, // float32's smallest normal, and its smallest
		{0x1p-133f, 0x0000, 0x0001},
		{0x1p-149f, 0x0000, 0x0000},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (narrow(DATA_FLOAT16, cases[i].value) != cases[i].float16 ||
		    narrow(DATA_BFLOAT16, cases[i].value) != cases[i].bfloat16)
			fail_msg("%a: 0x%04x, 0x%04x", cases[i].value, narrow(DATA_FLOAT16, cases[i].value),
				 narrow(DATA_BFLOAT16, cases[i].value));
}

static void narrow_what_is_no_number_stays_so(void **state)
{
	static const uint32_t bits[] = {0x7f800001, 0xff800001, 0x7fc00000, 0xffc00000,
					0x7fffffff, 0xffffffff, 0x7f801fff, 0x7f80ffff};
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		for (int t = 0; t < 2; t++) {
			uint16_t result = narrow(narrow_types[t], float_of(bits[i]));
			if (!isnan(defined_value(narrow_types[t], result)) || result >> 15 != bits[i] >> 31)
				fail_msg("%s of 0x%08x: 0x%04x", data_type_name(narrow_types[t]), bits[i], result);
		}
}

static void narrow_is_the_compilers_own_float16(void **state)
{
#if defined(__FLT16_MAX__)
	uint32_t bits = 12345;
	for (int i = 0; i < 4000000; i++) {
		bits = bits * 1664525 + 1013904223;
		// Every other one in float16's range.
		float value = float_of(i % 2 == 0 ? bits : (bits & 0x8fffffff) | 0x30000000);
		_Float16 half = (_Float16)value;
		uint16_t expected, ours = narrow(DATA_FLOAT16, value);
		memcpy(&expected, &half, sizeof(expected));
		if (!isnan(value) && ours != expected)
			fail_msg("%a: 0x%04x, not 0x%04x", value, ours, expected);
	}
#else
	skip();
#endif
}

// Vector code has tails: every length gives what single numbers give, and nothing behind the end is touched.
static void arrays_of_any_length_are_converted_whole(void **state)
{
	enum { MOST = 70 };
	static const float samples[] = {1.5f, -65504.0f, 1e9f, 0x1p-20f, -0x1.004p0f, 0.0f, INFINITY, 1e-3f, 1e-41f};
	for (int type = 0; type < DATA_TYPE_COUNT; type++)
		for (uint32_t count = 0; count <= MOST; count++) {
			float from[MOST + 1], back[MOST + 1];
			uint8_t to[4 * (MOST + 1)];
			memset(to, 0x5a, sizeof(to));
			memset(back, 0x5a, sizeof(back));
			for (uint32_t i = 0; i <= MOST; i++)
				from[i] = samples[i % (sizeof(samples) / sizeof(samples[0]))] * (float)(1 + i / 9);
			uint32_t bytes = data_type_bytes((enum data_type)type);
			data_type_narrow((enum data_type)type, count, from, to);
			data_type_widen((enum data_type)type, count, to, back);
			for (uint32_t i = 0; i < count; i++) {
				uint8_t one[4];
				float value;
				data_type_narrow((enum data_type)type, 1, &from[i], one);
				data_type_widen((enum data_type)type, 1, one, &value);
				assert_memory_equal(one, to + i * bytes, bytes);
				assert_memory_equal(&value, &back[i], sizeof(value));
				if (type == DATA_FLOAT32)
					assert_int_equal(bits_of(back[i]), bits_of(from[i]));
			}
			for (uint32_t i = count * bytes; i < sizeof(to); i++)
				assert_int_equal(to[i], 0x5a);
			assert_int_equal(bits_of(back[count]), 0x5a5a5a5a);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_parse_in_any_case),
		cmocka_unit_test(widen_every_number_is_its_definition),
		cmocka_unit_test(narrow_gives_every_number_back),
		cmocka_unit_test(narrow_rounds_to_nearest_ties_to_even),
		cmocka_unit_test(narrow_known_values),
		cmocka_unit_test(narrow_what_is_no_number_stays_so),
		cmocka_unit_test(narrow_is_the_compilers_own_float16),
		cmocka_unit_test(arrays_of_any_length_are_converted_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
