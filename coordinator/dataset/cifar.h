// CIFAR-10 as published, in memory: records of 1 label byte and 3072 image bytes (3 x 32 x 32, planes R, G, B), as in the binary version.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
	CIFAR_IMAGE_SIZE = 32,
	CIFAR_IMAGE_BYTES = 3 * 32 * 32,
	CIFAR_RECORD_BYTES = 1 + CIFAR_IMAGE_BYTES,
	CIFAR_CLASSES = 10
};

struct cifar {
	uint8_t *records; // count x CIFAR_RECORD_BYTES
	uint64_t count;
};

// Reads the files data_batch_1 to data_batch_5 (those that exist; at least the first), or test_batch. `path` may be
// - a folder with the binary version (data_batch_1.bin) or the version for Python (data_batch_1, pickles),
// - the folder above cifar-10-batches-bin or cifar-10-batches-py, such as torchvision's download folder,
// - cifar-10-binary.tar.gz or cifar-10-python.tar.gz, or a folder with one of them and nothing of the above.
// Images have the same order in all of them. Errors name the file and what is wrong: missing, cut short (with sizes), a label over 9
// (with its record), a pickle that holds something else (with the byte).
bool cifar_read(const char *path, bool test, struct cifar *ret_set, struct error *error);
void cifar_fini(struct cifar *set);
// Whether a model of so many classes can be trained on it: every label is below `classes`. ERROR_USAGE.
bool cifar_check_classes(const struct cifar *set, uint32_t classes, struct error *error);
static inline uint8_t cifar_label(const struct cifar *set, uint64_t index)
{
	return set->records[index * CIFAR_RECORD_BYTES];
}
static inline const uint8_t *cifar_image(const struct cifar *set, uint64_t index)
{
	return set->records + index * CIFAR_RECORD_BYTES + 1;
}
