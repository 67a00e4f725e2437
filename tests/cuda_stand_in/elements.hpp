// Elements of tensors, for the stand-ins of cuDNN and cuBLASLt: one at a time, from and to float32, rounded to nearest even.
#pragma once

#include <cstdint>
#include <cstring>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace elements
{
enum class type { float32, bfloat16, float16 };

inline float load(type type, const void *from, int64_t place)
{
	switch (type) {
	case type::bfloat16:
		return __bfloat162float(static_cast<const __nv_bfloat16 *>(from)[place]);
	case type::float16:
		return __half2float(static_cast<const __half *>(from)[place]);
	default:
		return static_cast<const float *>(from)[place];
	}
}

inline void store(type type, void *to, int64_t place, float value)
{
	switch (type) {
	case type::bfloat16:
		static_cast<__nv_bfloat16 *>(to)[place] = __float2bfloat16_rn(value);
		break;
	case type::float16:
		static_cast<__half *>(to)[place] = __float2half_rn(value);
		break;
	default:
		static_cast<float *>(to)[place] = value;
	}
}

// What is left of a value that was an element.
inline float round(type type, float value)
{
	float element;
	store(type, &element, 0, value);
	return load(type, &element, 0);
}
} // namespace elements
