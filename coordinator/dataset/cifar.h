// CIFAR-10 and CIFAR-100 as published, in memory: records of 1 label byte and 3072 image bytes (3 x 32 x 32, planes R, G, B), as in the
// binary version of CIFAR-10. The labels of CIFAR-100 are the fine ones.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
	CIFAR_IMAGE_SIZE = 32,
	CIFAR_IMAGE_BYTES = 3 * 32 * 32,
	CIFAR_RECORD_BYTES = 1 + CIFAR_IMAGE_BYTES,
	CIFAR_CLASSES = 10, // of CIFAR-10
};

enum cifar_form { CIFAR_BINARY, CIFAR_PICKLE, CIFAR_FORMS };

struct cifar_version {
	const char *name; // "CIFAR-10"
	uint32_t classes;
	uint32_t label_bytes, label_at; // of a record in the binary version
	const char *labels;             // the key of a pickle's labels
	int training_files;
	const char *training_name, *test_name; // "data_batch_%d"
	const char *subfolders[CIFAR_FORMS], *archives[CIFAR_FORMS];
};

extern const struct cifar_version cifar_10, cifar_100;

struct cifar {
	uint8_t *records; // count x CIFAR_RECORD_BYTES
	uint64_t count;
};

// Reads the training files (those that exist; at least the first), or the test file. `path` may be
// - a folder with the binary version (data_batch_1.bin, train.bin) or the version for Python (data_batch_1, train; pickles),
// - the folder above cifar-10-batches-bin, cifar-10-batches-py, cifar-100-binary or cifar-100-python, such as torchvision's download
//   folder,
// - cifar-10-binary.tar.gz, cifar-10-python.tar.gz, cifar-100-binary.tar.gz or cifar-100-python.tar.gz, or a folder with one of them and
//   nothing of the above.
// Images have the same order in all of them. Errors name the file and what is wrong: missing, cut short (with sizes), a label that is too
// large (with its record), a pickle that holds something else (with the byte).
bool cifar_read(const struct cifar_version *version, const char *path, bool test, struct cifar *ret_set,
		struct error *error);
void cifar_fini(struct cifar *set);
// Whether a folder has training or test files of the version in one of these places. The text says where they are, in words:
// "binary", "for Python" or the archive's name. False with an error: the folder cannot be searched.
bool cifar_find(const struct cifar_version *version, const char *folder, bool test, const char **ret_where,
		struct error *error);
// Whether an archive with such a member is one of the version. `name` may have folders.
bool cifar_has_member(const struct cifar_version *version, const char *name);
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
