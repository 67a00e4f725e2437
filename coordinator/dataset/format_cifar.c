// CIFAR-10 and CIFAR-100 as formats of a dataset: all their samples are in memory.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/dataset/cifar.h"
#include "coordinator/dataset/format.h"

static bool find(const struct cifar_version *version, const char *folder, bool *ret_found, struct error *error)
{
	const char *where;
	if (!cifar_find(version, folder, false, &where, error))
		return false;
	*ret_found = where != NULL;
	return true;
}

static bool find_10(const char *folder, bool *ret_found, struct error *error)
{
	return find(&cifar_10, folder, ret_found, error);
}

static bool find_100(const char *folder, bool *ret_found, struct error *error)
{
	return find(&cifar_100, folder, ret_found, error);
}

static bool has_member_10(const char *name)
{
	return cifar_has_member(&cifar_10, name);
}

static bool has_member_100(const char *name)
{
	return cifar_has_member(&cifar_100, name);
}

static bool take_labels(struct dataset *dataset, const struct cifar *set, struct error *error)
{
	dataset->labels = malloc(set->count + 1);
	if (dataset->labels == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint64_t i = 0; i < set->count; i++)
		dataset->labels[i] = cifar_label(set, i);
	return true;
}

// Names the dataset, and where its validation part is.
static bool name(const struct cifar_version *version, const char *path, bool is_folder, struct dataset *dataset,
		 struct error *error)
{
	const char *training = "archive", *test = NULL;
	if (is_folder &&
	    (!cifar_find(version, path, false, &training, error) || !cifar_find(version, path, true, &test, error)))
		return false;
	snprintf(dataset->name, sizeof(dataset->name), "%s (%s)", version->name, training);
	if (!is_folder || test != NULL)
		snprintf(dataset->validation, sizeof(dataset->validation), "%s", version->test_name);
	return true;
}

static bool open_version(const struct cifar_version *version, const char *path, bool is_folder, struct dataset *dataset,
			 struct error *error)
{
	struct cifar *set = calloc(1, sizeof(*set));
	if (set == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	dataset->state = set;
	if (!cifar_read(version, path, false, set, error) || !name(version, path, is_folder, dataset, error))
		return false;
	dataset->count = set->count;
	dataset->classes = version->classes;
	dataset->image_size = CIFAR_IMAGE_SIZE;
	return take_labels(dataset, set, error);
}

static bool open_10(const char *path, bool is_folder, uint32_t image_size, struct dataset *dataset, struct error *error)
{
	return open_version(&cifar_10, path, is_folder, dataset, error);
}

static bool open_100(const char *path, bool is_folder, uint32_t image_size, struct dataset *dataset,
		     struct error *error)
{
	return open_version(&cifar_100, path, is_folder, dataset, error);
}

static void close_set(struct dataset *dataset)
{
	if (dataset->state != NULL)
		cifar_fini(dataset->state);
	free(dataset->state);
}

static bool read_image(const struct dataset *dataset, uint64_t sample, uint8_t *image, struct error *error)
{
	memcpy(image, cifar_image(dataset->state, sample), CIFAR_IMAGE_BYTES);
	return true;
}

const struct dataset_format dataset_cifar_10 = {
	.in_folder = "CIFAR-10: data_batch_1.bin or data_batch_1, in it or in cifar-10-batches-bin or "
		     "cifar-10-batches-py, or "
		     "cifar-10-binary.tar.gz or cifar-10-python.tar.gz",
	.in_archive = "CIFAR-10: data_batch_1.bin or data_batch_1",
	.find = find_10,
	.has_member = has_member_10,
	.open = open_10,
	.close = close_set,
	.read = read_image,
};

const struct dataset_format dataset_cifar_100 = {
	.in_folder = "CIFAR-100: the same with train.bin, train, cifar-100-binary and cifar-100-python",
	.in_archive = "CIFAR-100: train.bin or train",
	.find = find_100,
	.has_member = has_member_100,
	.open = open_100,
	.close = close_set,
	.read = read_image,
};
