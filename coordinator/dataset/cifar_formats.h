// What cifar.c (which files there are), cifar_formats.c (their bytes) and cifar_archive.c (archives of them) share.
#pragma once

#include <stddef.h>

#include "coordinator/dataset/cifar.h"

enum { CIFAR_MAXIMUM_FILES = 5, CIFAR_NAME_SIZE = 32 };

// "data_batch_2.bin", "data_batch_2", "test_batch.bin" or "test_batch"; `number` from 1.
const char *cifar_file_name(const struct cifar_version *version, enum cifar_form form, bool test, int number,
			    char into[CIFAR_NAME_SIZE]);
static inline int cifar_files(const struct cifar_version *version, bool test)
{
	return test ? 1 : version->training_files;
}

// Whether a binary file of so many bytes holds whole records.
bool cifar_check_size(const struct cifar_version *version, uint64_t bytes, struct error *error);
// Appends the images of one file to `set`. Errors say what is wrong with it, without its name.
bool cifar_append(const struct cifar_version *version, enum cifar_form form, const uint8_t *bytes, uint64_t size,
		  struct cifar *set, struct error *error);
// Appends `count` records of `set`'s own form.
bool cifar_append_set(const struct cifar *more, struct cifar *set, struct error *error);

// Reads one of the published archives, or a tar archive made like one of them.
bool cifar_read_archive(const struct cifar_version *version, const char *path, bool test, struct cifar *ret_set,
			struct error *error);
