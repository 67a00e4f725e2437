// What cifar10.c (which files there are), cifar10_formats.c (their bytes) and cifar10_archive.c (archives of them) share.
#pragma once

#include <stddef.h>

#include "coordinator/dataset/cifar10.h"

enum { CIFAR10_TRAINING_FILES = 5 };

// "data_batch_2.bin", "data_batch_2", "test_batch.bin" or "test_batch"; `number` from 1.
enum cifar10_format { CIFAR10_BINARY, CIFAR10_PICKLE };
enum { CIFAR10_NAME_SIZE = 32 };
const char *cifar10_file_name(enum cifar10_format format, bool test, int number, char into[CIFAR10_NAME_SIZE]);

// Append the images of one file to `set`. Errors say what is wrong with it, without its name.
bool cifar10_check_size(uint64_t bytes, struct error *error); // of a binary file
bool cifar10_check_labels(const uint8_t *records, uint64_t count, struct error *error);
bool cifar10_append(struct cifar10 *set, enum cifar10_format format, const uint8_t *bytes, uint64_t size,
		    struct error *error);

// Reads cifar-10-python.tar.gz, cifar-10-binary.tar.gz, or a tar archive made like one of them.
bool cifar10_read_archive(const char *path, bool test, struct cifar10 *ret_set, struct error *error);
