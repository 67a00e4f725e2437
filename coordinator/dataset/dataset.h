// Training data, whatever its format: samples that are counted, numbered from 0, and read into the caller's memory. A sample is an element
// of named, typed tensors; today of "images" and "labels". Reading may go on in several threads at a time; the rest is for one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
	DATASET_MAXIMUM_RANK = 3,
	DATASET_MAXIMUM_CLASSES = 256, // a label is a byte
	DATASET_TEXT_SIZE = 600,
};

enum dataset_input { DATASET_IMAGES, DATASET_LABELS, DATASET_INPUTS };
enum dataset_type { DATASET_UINT8 };

struct dataset_tensor {
	const char *name;
	enum dataset_type type;
	uint32_t rank;                             // without the sample's own dimension
	uint32_t dimensions[DATASET_MAXIMUM_RANK]; // of one sample
};

struct dataset;

// Opens the training part of what is at `path`, told by looking at it; rows of formats in dataset.c. Photographs are made
// `image_size` pixels wide and high, unless all that are looked at are square, of one size, and not larger. ERROR_USAGE says what was
// looked for, or which file is wrong.
bool dataset_open(const char *path, uint32_t image_size, struct dataset **ret_dataset, struct error *error);
void dataset_close(struct dataset *dataset); // takes NULL

uint64_t dataset_count(const struct dataset *dataset); // samples
uint32_t dataset_classes(const struct dataset *dataset);
const char *dataset_class_name(const struct dataset *dataset, uint32_t class); // NULL: the format does not name them
const struct dataset_tensor *dataset_tensor(const struct dataset *dataset, enum dataset_input input);
uint64_t dataset_tensor_bytes(const struct dataset_tensor *tensor); // of one sample
// Threads that should read at a time: decoding an image takes longer than copying one.
uint32_t dataset_threads(const struct dataset *dataset);
// Whether a model of so many classes can be trained on it: every label is below `classes`. ERROR_USAGE.
bool dataset_check_classes(const struct dataset *dataset, uint32_t classes, struct error *error);
// "CIFAR-10 (binary version): 300 images of 3 x 32 x 32, 10 classes; validation: test_batch.bin". Returns `into`.
char *dataset_describe(const struct dataset *dataset, char into[DATASET_TEXT_SIZE]);

// Reads the samples, one after the other, into the memory of each tensor. Errors name the sample, and its file where it has one. Any thread.
bool dataset_read(const struct dataset *dataset, const uint64_t *samples, uint32_t count,
		  void *const into[DATASET_INPUTS], struct error *error);
