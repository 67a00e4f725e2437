// CIFAR-10's published binary format: records of 1 label byte and 3072 image bytes (3 x 32 x 32, planes R, G, B).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
	CIFAR10_IMAGE_SIZE = 32,
	CIFAR10_IMAGE_BYTES = 3 * 32 * 32,
	CIFAR10_RECORD_BYTES = 1 + CIFAR10_IMAGE_BYTES,
	CIFAR10_CLASSES = 10
};

struct cifar10 {
	uint8_t *records; // count x CIFAR10_RECORD_BYTES
	uint64_t count;
};

// Reads data_batch_1.bin ... data_batch_5.bin of `folder` (those there are; at least the first), or test_batch.bin.
// `folder` may also be the parent of cifar-10-batches-bin. Errors name the file and what is wrong: missing, cut short
// (with sizes), a label over 9 (with its record).
bool cifar10_read(const char *folder, bool test, struct cifar10 *ret_set, struct error *error);
void cifar10_fini(struct cifar10 *set);
static inline uint8_t cifar10_label(const struct cifar10 *set, uint64_t index)
{
	return set->records[index * CIFAR10_RECORD_BYTES];
}
static inline const uint8_t *cifar10_image(const struct cifar10 *set, uint64_t index)
{
	return set->records + index * CIFAR10_RECORD_BYTES + 1;
}
