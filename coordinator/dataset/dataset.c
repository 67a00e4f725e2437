// Which format a dataset has, and what all formats have in common. See dataset.h.
#include "coordinator/dataset/dataset.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/processors.h"
#include "common/base/strings.h"
#include "coordinator/dataset/format.h"
#include "coordinator/dataset/tar.h"

enum { CLASSES_NAMED = 5, READERS_MAXIMUM = 8, SHOWN_BYTES = 300 };

// In the order in which they are looked for.
static const struct dataset_format *const formats[] = {&dataset_cifar_10, &dataset_cifar_100, &dataset_folder,
						       &dataset_webdataset};
enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

// ---- Which format it is

static char *say_signs(bool is_folder, char into[ERROR_MESSAGE_SIZE])
{
	into[0] = '\0';
	for (int i = 0; i < FORMATS; i++) {
		const char *sign = is_folder ? formats[i]->in_folder : formats[i]->in_archive;
		size_t used = strlen(into);
		if (sign != NULL)
			snprintf(into + used, ERROR_MESSAGE_SIZE - used, "%s%s", used > 0 ? "; " : "", sign);
	}
	return into;
}

static void refuse_unknown(bool is_folder, struct error *error)
{
	char signs[ERROR_MESSAGE_SIZE];
	error_set(error, ERROR_USAGE, "is none of the formats that are read. In the %s it was looked for: %s",
		  is_folder ? "folder" : "archive", say_signs(is_folder, signs));
}

// A file whose first bytes are not those of an archive.
static void refuse_file(struct error *error)
{
	char why[ERROR_MESSAGE_SIZE], signs[ERROR_MESSAGE_SIZE];
	snprintf(why, sizeof(why), "%s", error->message);
	error_set(error, error->code, "%s. A dataset is a folder, or a tar archive, in which it was looked for: %s",
		  why, say_signs(false, signs));
}

static bool find_in_folder(const char *path, const struct dataset_format **ret_format, struct error *error)
{
	for (int i = 0; i < FORMATS; i++) {
		bool found = false;
		if (formats[i]->find == NULL)
			continue;
		if (!formats[i]->find(path, &found, error))
			return false;
		if (found) {
			*ret_format = formats[i];
			return true;
		}
	}
	refuse_unknown(true, error);
	return false;
}

static const struct dataset_format *find_by_member(const struct tar_member *member)
{
	for (int i = 0; i < FORMATS; i++)
		if (member->is_file && formats[i]->has_member != NULL && formats[i]->has_member(member->name))
			return formats[i];
	return NULL;
}

// By the first member that belongs to a format.
static bool find_in_tar(struct tar *tar, const struct dataset_format **ret_format, struct error *error)
{
	for (bool is_first = true;; is_first = false) {
		struct tar_member member;
		bool is_end;
		if (!tar_next(tar, &member, &is_end, error)) {
			if (is_first && error->code == ERROR_USAGE)
				refuse_file(error);
			return false;
		}
		if (is_end) {
			refuse_unknown(false, error);
			return false;
		}
		*ret_format = find_by_member(&member);
		if (*ret_format != NULL)
			return true;
	}
}

static bool find_in_archive(const char *path, const struct dataset_format **ret_format, struct error *error)
{
	struct tar *tar;
	if (!tar_open(path, &tar, error))
		return false;
	bool found = find_in_tar(tar, ret_format, error);
	tar_close(tar);
	return found;
}

static bool find_format(const char *path, bool *ret_is_folder, const struct dataset_format **ret_format,
			struct error *error)
{
	struct stat status;
	if (stat(path, &status) < 0)
		return error_set(error, ERROR_USAGE, "%s", strerror(errno));
	*ret_is_folder = S_ISDIR(status.st_mode);
	if (!*ret_is_folder && !S_ISREG(status.st_mode))
		return error_set(error, ERROR_USAGE, "is neither a folder nor an archive");
	return (*ret_is_folder ? find_in_folder : find_in_archive)(path, ret_format, error);
}

// ---- From open to close

bool dataset_check_class_count(uint64_t classes, struct error *error)
{
	if (classes > DATASET_MAXIMUM_CLASSES)
		return error_set(error, ERROR_USAGE,
				 "has %" PRIu64 " classes; the maximum is %d, because a label is sent as one byte",
				 classes, DATASET_MAXIMUM_CLASSES);
	return classes >= 2 || error_set(error, ERROR_USAGE, "has only one class; a classifier needs two or more");
}

static bool check(const struct dataset *dataset, struct error *error)
{
	if (dataset->count == 0)
		return error_set(error, ERROR_USAGE, "has no samples");
	return dataset_check_class_count(dataset->classes, error);
}

static bool open_format(const char *path, uint32_t image_size, struct dataset *dataset, struct error *error)
{
	bool is_folder = false;
	if (!find_format(path, &is_folder, &dataset->format, error) ||
	    !dataset->format->open(path, is_folder, image_size, dataset, error) || !check(dataset, error))
		return false;
	uint32_t side = dataset->image_size;
	dataset->tensors[DATASET_IMAGES] = (struct dataset_tensor){"images", DATASET_UINT8, 3, {3, side, side}};
	dataset->tensors[DATASET_LABELS] = (struct dataset_tensor){"labels", DATASET_UINT8, 0, {0}};
	return true;
}

bool dataset_open(const char *path, uint32_t image_size, struct dataset **ret_dataset, struct error *error)
{
	struct dataset *dataset = calloc(1, sizeof(*dataset));
	char shown[SHOWN_BYTES];
	if (dataset == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	if (!open_format(path, image_size, dataset, error)) {
		dataset_close(dataset);
		return error_wrap(error, "dataset %s", strings_printable(path, shown, sizeof(shown)));
	}
	*ret_dataset = dataset;
	return true;
}

void dataset_close(struct dataset *dataset)
{
	if (dataset == NULL)
		return;
	if (dataset->format != NULL)
		dataset->format->close(dataset);
	for (uint32_t i = 0; dataset->class_names != NULL && i < dataset->classes; i++)
		free(dataset->class_names[i]);
	free(dataset->class_names);
	free(dataset->labels);
	free(dataset);
}

// ---- What it is

uint64_t dataset_count(const struct dataset *dataset)
{
	return dataset->count;
}

uint32_t dataset_classes(const struct dataset *dataset)
{
	return dataset->classes;
}

const char *dataset_class_name(const struct dataset *dataset, uint32_t class)
{
	return dataset->class_names != NULL && class < dataset->classes ? dataset->class_names[class] : NULL;
}

const struct dataset_tensor *dataset_tensor(const struct dataset *dataset, enum dataset_input input)
{
	return &dataset->tensors[input];
}

uint64_t dataset_tensor_bytes(const struct dataset_tensor *tensor)
{
	uint64_t bytes = 1;
	for (uint32_t i = 0; i < tensor->rank; i++)
		bytes *= tensor->dimensions[i];
	return bytes;
}

uint32_t dataset_threads(const struct dataset *dataset)
{
	uint32_t threads = processors_allowed() / 2;
	if (!dataset->format->is_slow || threads < 1)
		return 1;
	return threads < READERS_MAXIMUM ? threads : READERS_MAXIMUM;
}

bool dataset_check_classes(const struct dataset *dataset, uint32_t classes, struct error *error)
{
	uint32_t highest = 0;
	for (uint64_t i = 0; i < dataset->count; i++)
		highest = dataset->labels[i] > highest ? dataset->labels[i] : highest;
	return highest < classes ||
	       error_set(error, ERROR_USAGE,
			 "--classes %u: the dataset has labels up to %u, so the model needs at least %u classes",
			 classes, highest, highest + 1);
}

// " (cat, dog, fish)"
static void name_classes(const struct dataset *dataset, char *into, size_t size)
{
	char shown[40];
	into[0] = '\0';
	for (uint32_t i = 0; dataset->class_names != NULL && i < dataset->classes; i++) {
		bool is_named = i < CLASSES_NAMED || dataset->classes == CLASSES_NAMED + 1;
		const char *name = is_named ? strings_printable(dataset->class_names[i], shown, sizeof(shown)) : "...";
		size_t used = strlen(into);
		snprintf(into + used, size - used, "%s%s", i == 0 ? " (" : ", ", name);
		if (!is_named)
			break;
	}
	if (into[0] != '\0')
		strncat(into, ")", size - strlen(into) - 1);
}

char *dataset_describe(const struct dataset *dataset, char into[DATASET_TEXT_SIZE])
{
	char classes[300];
	name_classes(dataset, classes, sizeof(classes));
	snprintf(into, DATASET_TEXT_SIZE, "%s: %" PRIu64 " image%s of 3 x %u x %u%s%s, %u class%s%s; %s%s",
		 dataset->name, dataset->count, strings_plural(dataset->count), dataset->image_size,
		 dataset->image_size, dataset->remark[0] != '\0' ? ", " : "", dataset->remark, dataset->classes,
		 dataset->classes == 1 ? "" : "es", classes,
		 dataset->validation[0] != '\0' ? "validation: " : "no validation part", dataset->validation);
	return into;
}

// ---- Samples

bool dataset_read(const struct dataset *dataset, const uint64_t *samples, uint32_t count,
		  void *const into[DATASET_INPUTS], struct error *error)
{
	uint64_t bytes = dataset_tensor_bytes(&dataset->tensors[DATASET_IMAGES]);
	uint8_t *images = into[DATASET_IMAGES], *labels = into[DATASET_LABELS];
	for (uint32_t i = 0; i < count; i++) {
		if (!dataset->format->read(dataset, samples[i], images + i * bytes, error))
			return error_wrap(error, "dataset: image %" PRIu64 " (from 0)", samples[i]);
		labels[i] = dataset->labels[samples[i]];
	}
	return true;
}
