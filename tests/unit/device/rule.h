// Inputs and parameters of the golden tests, drawn by a rule that PyTorch's side (tests/golden/networks.py) computes bit
// for bit the same, so that the golden files hold results only. Not the generator of common/base/random: a test of the
// device must not depend on it.
#pragma once

#include <stdint.h>

enum { RULE_SAMPLES = 64 }; // elements of a large tensor that a golden file keeps

uint32_t rule_hash(uint32_t subject, uint32_t element);
uint32_t rule_subject(const char *name); // 32-bit FNV-1a

void rule_fill(const char *name, float scale, uint64_t count, float *ret_values); // [-scale, scale)
void rule_fill_bytes(const char *name, uint64_t count, uint8_t *ret_values);
void rule_fill_labels(const char *name, uint64_t count, uint32_t classes, uint8_t *ret_labels);
// The element of a tensor of `count` that golden sample `index` is.
uint64_t rule_sample(const char *name, uint32_t index, uint64_t count);
