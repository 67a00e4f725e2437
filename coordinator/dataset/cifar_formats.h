// What cifar.c (which files there are), cifar_formats.c (their bytes) and cifar_archive.c (archives of them) share.
#pragma once

#include <stddef.h>

#include "coordinator/dataset/cifar.h"

enum { CIFAR_TRAINING_FILES = 5 };

// "data_batch_2.bin", "data_batch_2", "test_batch.bin" or "test_batch"; `number` from 1.
enum cifar_format { CIFAR_BINARY, CIFAR_PICKLE };
enum { CIFAR_NAME_SIZE = 32 };
const char *cifar_file_name(enum cifar_format format, bool test, int number, char into[CIFAR_NAME_SIZE]);

// Append the images of one file to `set`. Errors say what is wrong with it, without its name.
bool cifar_check_size(uint64_t bytes, struct error *error); // of a binary file
bool cifar_check_labels(const uint8_t *records, uint64_t count, struct error *error);
bool cifar_append(struct cifar *set, enum cifar_format format, const uint8_t *bytes, uint64_t size,
		  struct error *error);

// Reads cifar-10-python.tar.gz, cifar-10-binary.tar.gz, or a tar archive made like one of them.
bool cifar_read_archive(const char *path, bool test, struct cifar *ret_set, struct error *error);
