// A folder of classes: a folder for each class, with images in it, as torchvision's ImageFolder takes it. The list of files is kept; an
// image is read and decoded when it is asked for.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/strings.h"
#include "coordinator/dataset/class_folder.h"
#include "coordinator/dataset/image.h"
#include "coordinator/dataset/pictures.h"

struct folder {
	char root[PATH_MAX]; // of the class folders
	struct names files;  // below it
};

// ---- Where the classes are

static const char *const validation_names[] = {"val", "valid", "validation", "test"};
enum { VALIDATION_NAMES = sizeof(validation_names) / sizeof(validation_names[0]) };

// Whether the folders are the parts of a set, and not classes: "train", and nothing but names of validation parts beside it.
static bool are_parts(const struct names *folders, const char **ret_validation)
{
	bool has_training = false;
	*ret_validation = NULL;
	for (uint64_t i = 0; i < folders->count; i++) {
		const char *name = names_get(folders, i);
		int known = 0;
		while (known < VALIDATION_NAMES && strcmp(name, validation_names[known]) != 0)
			known++;
		if (strcmp(name, "train") == 0)
			has_training = true;
		else if (known == VALIDATION_NAMES)
			return false;
		else if (*ret_validation == NULL)
			*ret_validation = validation_names[known];
	}
	return has_training;
}

// Lists the classes of the training part. `root` gets the folder that they are in.
static bool list_classes(const char *path, char root[PATH_MAX], struct names *classes, const char **ret_validation,
			 struct error *error)
{
	snprintf(root, PATH_MAX, "%s", path);
	if (strlen(path) >= PATH_MAX / 2)
		return error_set(error, ERROR_USAGE, "the path is too long");
	if (!class_folder_list(path, classes, error))
		return false;
	if (!are_parts(classes, ret_validation))
		return true;
	snprintf(root, PATH_MAX, "%s/train", path);
	names_fini(classes);
	return class_folder_list(root, classes, error);
}

static bool find(const char *path, bool *ret_found, struct error *error)
{
	char root[PATH_MAX];
	const char *validation;
	struct names classes = {0}, files = {0};
	bool ok = list_classes(path, root, &classes, &validation, error);
	for (uint64_t i = 0; ok && i < classes.count && files.count == 0; i++)
		ok = class_folder_files(root, names_get(&classes, i), true, &files, error);
	*ret_found = ok && files.count > 0;
	names_fini(&classes);
	names_fini(&files);
	return ok;
}

// ---- The list of files

static bool add_class(struct folder *folder, const char *name, struct error *error)
{
	uint64_t before = folder->files.count;
	char shown[100];
	if (!class_folder_files(folder->root, name, false, &folder->files, error))
		return false;
	return folder->files.count > before ||
	       error_set(error, ERROR_USAGE, "class folder %s is empty: it has no .jpg, .jpeg or .png file",
			 strings_printable(name, shown, sizeof(shown)));
}

// The classes are numbered in the order of their names.
static bool add_classes(struct folder *folder, const struct names *classes, struct dataset *dataset,
			struct error *error)
{
	dataset->class_names = calloc(classes->count + 1, sizeof(*dataset->class_names));
	if (dataset->class_names == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint64_t i = 0; i < classes->count; i++) {
		uint64_t before = folder->files.count;
		if (!add_class(folder, names_get(classes, i), error))
			return false;
		uint8_t *labels = realloc(dataset->labels, folder->files.count);
		if (labels == NULL)
			return error_set(error, ERROR_FAILED, "out of memory");
		memset(labels + before, (int)i, folder->files.count - before);
		dataset->labels = labels;
		dataset->class_names[dataset->classes] = strdup(names_get(classes, i));
		if (dataset->class_names[dataset->classes++] == NULL)
			return error_set(error, ERROR_FAILED, "out of memory");
	}
	dataset->count = folder->files.count;
	return true;
}

// ---- Images

static bool check_file(const struct stat *status, struct error *error)
{
	if (!S_ISREG(status->st_mode))
		return error_set(error, ERROR_USAGE, "is not a regular file");
	if ((uint64_t)status->st_size > IMAGE_MAXIMUM_FILE_BYTES)
		return error_set(error, ERROR_USAGE, "is %" PRIu64 " bytes; the maximum is %" PRIu64,
				 (uint64_t)status->st_size, IMAGE_MAXIMUM_FILE_BYTES);
	return true;
}

static bool read_descriptor(int descriptor, struct picture_file *ret_file, struct error *error)
{
	struct stat status;
	if (fstat(descriptor, &status) < 0)
		return error_set(error, ERROR_FAILED, "%s", strerror(errno));
	if (!check_file(&status, error))
		return false;
	size_t size = (size_t)status.st_size, done = 0;
	_cleanup_free_ uint8_t *bytes = malloc(size + 1);
	if (bytes == NULL)
		return error_set(error, ERROR_FAILED, "no memory for its %zu bytes", size);
	while (done < size) {
		ssize_t got = read(descriptor, bytes + done, size - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(error, ERROR_FAILED, "read: %s", strerror(errno));
		if (got == 0)
			return error_set(error, ERROR_USAGE, "changed while it was read");
		done += (size_t)got;
	}
	*ret_file = (struct picture_file){bytes, size, bytes};
	bytes = NULL;
	return true;
}

static bool fetch(const struct dataset *dataset, uint64_t sample, struct picture_file *ret_file, struct error *error)
{
	const struct folder *folder = dataset->state;
	char path[2 * PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", folder->root, names_get(&folder->files, sample));
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // not to wait, should this be a pipe
	if (descriptor < 0)
		return error_set(error, ERROR_USAGE, "%s", strerror(errno));
	bool ok = read_descriptor(descriptor, ret_file, error);
	close(descriptor);
	return ok;
}

static void name(const struct dataset *dataset, uint64_t sample, char *into, size_t size)
{
	const struct folder *folder = dataset->state;
	char path[2 * PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", folder->root, names_get(&folder->files, sample));
	strings_printable(path, into, size);
}

static const struct pictures pictures = {fetch, name};

// ---- The door

static bool open_classes(const char *path, struct folder *folder, struct names *classes, struct dataset *dataset,
			 struct error *error)
{
	const char *validation = NULL;
	if (!list_classes(path, folder->root, classes, &validation, error))
		return false;
	if (validation != NULL)
		snprintf(dataset->validation, sizeof(dataset->validation), "folder %s", validation);
	// Before a million files are listed.
	return dataset_check_class_count(classes->count, error) && add_classes(folder, classes, dataset, error);
}

static bool open_folder(const char *path, bool is_folder, uint32_t image_size, struct dataset *dataset,
			struct error *error)
{
	struct folder *folder = calloc(1, sizeof(*folder));
	struct names classes = {0};
	if (folder == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	dataset->state = folder;
	snprintf(dataset->name, sizeof(dataset->name), "folder of classes");
	bool ok = open_classes(path, folder, &classes, dataset, error);
	names_fini(&classes);
	return ok && pictures_choose_size(&pictures, image_size, dataset, error);
}

static void close_folder(struct dataset *dataset)
{
	struct folder *folder = dataset->state;
	if (folder == NULL)
		return;
	names_fini(&folder->files);
	free(folder);
}

static bool read_image(const struct dataset *dataset, uint64_t sample, uint8_t *image, struct error *error)
{
	return pictures_read(&pictures, dataset, sample, image, error);
}

const struct dataset_format dataset_folder = {
	.in_folder = "a folder for each class with .jpg, .jpeg or .png files in it, or train with such folders",
	.find = find,
	.open = open_folder,
	.close = close_folder,
	.read = read_image,
	.is_slow = true,
};
