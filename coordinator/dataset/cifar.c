// Where CIFAR-10's files are, and reading them whole. See cifar.h. The pixels stay the bytes of the files: the first stage resizes and
// normalises them.
#include "coordinator/dataset/cifar.h"

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
#include "coordinator/dataset/cifar_formats.h"

static const uint64_t maximum_file_bytes[] = {
	[CIFAR_BINARY] = UINT64_C(1) << 31,
	[CIFAR_PICKLE] = UINT64_C(1) << 28,
};

// Below the folder that the user names, in this order.
static const struct {
	const char *subfolder;
	enum cifar_format format;
} places[] = {
	{"", CIFAR_BINARY},
	{"cifar-10-batches-bin/", CIFAR_BINARY}, // as the published archive unpacks
	{"", CIFAR_PICKLE},
	{"cifar-10-batches-py/", CIFAR_PICKLE},
};
static const char *const archives[] = {"cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"};
enum { PLACES = sizeof(places) / sizeof(places[0]), ARCHIVES = sizeof(archives) / sizeof(archives[0]) };

// ---- Where they are

// Also a link that leads nowhere: opening it says so, where leaving it out would train on less. errno says why not.
static bool exists(const char *folder, const char *subfolder, const char *name)
{
	char path[PATH_MAX];
	struct stat status;
	int length = snprintf(path, sizeof(path), "%s/%s%s", folder, subfolder, name);
	errno = ENAMETOOLONG;
	return length > 0 && (size_t)length < sizeof(path) && lstat(path, &status) == 0;
}

// The place that has the first file. PLACES: none; `*ret_archive` then is one of the published archives, or NULL.
static bool find_place(const char *folder, bool test, int *ret_place, const char **ret_archive, struct error *error)
{
	char name[CIFAR_NAME_SIZE];
	*ret_archive = NULL;
	for (*ret_place = 0; *ret_place < PLACES; (*ret_place)++) {
		cifar_file_name(places[*ret_place].format, test, 1, name);
		if (exists(folder, places[*ret_place].subfolder, name))
			return true;
		if (errno != ENOENT && errno != ENOTDIR) // such as a folder that may not be searched
			return error_set(error, ERROR_USAGE, "dataset folder %s: %s%s: %s", folder,
					 places[*ret_place].subfolder, name, strerror(errno));
	}
	for (int i = 0; i < ARCHIVES; i++)
		if (exists(folder, "", archives[i])) {
			*ret_archive = archives[i];
			return true;
		}
	return error_set(
		error, ERROR_USAGE,
		"dataset folder %s: there is no %s.bin in it, nor in cifar-10-batches-bin; no %s in it, nor in "
		"cifar-10-batches-py; and no %s",
		folder, cifar_file_name(CIFAR_PICKLE, test, 1, name), name, archives[1]);
}

// ---- One file

static bool read_whole(int descriptor, uint8_t *into, uint64_t bytes, struct error *error)
{
	for (uint64_t done = 0; done < bytes;) {
		ssize_t got = read(descriptor, into + done, bytes - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(error, ERROR_FAILED, "read: %s", strerror(errno));
		if (got == 0)
			return error_set(error, ERROR_USAGE,
					 "is cut short: it ended after %" PRIu64 " of %" PRIu64 " bytes", done, bytes);
		done += (uint64_t)got;
	}
	return true;
}

static bool check_file(const struct stat *status, enum cifar_format format, struct error *error)
{
	uint64_t bytes = (uint64_t)status->st_size;
	if (!S_ISREG(status->st_mode))
		return error_set(error, ERROR_USAGE, "is not a regular file");
	if (bytes == 0)
		return error_set(error, ERROR_USAGE, "is empty");
	if (bytes > maximum_file_bytes[format])
		return error_set(error, ERROR_USAGE, "is %" PRIu64 " bytes; the maximum is %" PRIu64, bytes,
				 maximum_file_bytes[format]);
	return format != CIFAR_BINARY || cifar_check_size(bytes, error); // before it is read
}

// Appends the open file's images to `set`.
static bool append_file(int descriptor, enum cifar_format format, struct cifar *set, struct error *error)
{
	struct stat status;
	if (fstat(descriptor, &status) < 0)
		return error_set(error, ERROR_FAILED, "%s", strerror(errno));
	if (!check_file(&status, format, error))
		return false;
	uint64_t size = (uint64_t)status.st_size;
	_cleanup_free_ uint8_t *bytes = malloc(size);
	if (bytes == NULL)
		return error_set(error, ERROR_FAILED, "no memory for its %" PRIu64 " bytes", size);
	return read_whole(descriptor, bytes, size, error) && cifar_append(set, format, bytes, size, error);
}

static bool read_file(const char *folder, const char *subfolder, const char *name, enum cifar_format format,
		      struct cifar *set, struct error *error)
{
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/%s%s", folder, subfolder, name);
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // not to wait, should this be a pipe
	if (descriptor < 0)
		return error_set(error, ERROR_USAGE, "%s: %s", path, strerror(errno));
	bool ok = append_file(descriptor, format, set, error);
	close(descriptor);
	return ok || error_wrap(error, "%s", path);
}

// ---- All of them

static bool read_files(const char *folder, int place, bool test, struct cifar *ret_set, struct error *error)
{
	struct cifar set = {0};
	char name[CIFAR_NAME_SIZE];
	const char *subfolder = places[place].subfolder;
	for (int number = 1; number <= (test ? 1 : CIFAR_TRAINING_FILES); number++) {
		cifar_file_name(places[place].format, test, number, name);
		if (number > 1 && !exists(folder, subfolder, name))
			continue;
		if (!read_file(folder, subfolder, name, places[place].format, &set, error)) {
			cifar_fini(&set);
			return false;
		}
	}
	*ret_set = set;
	return true;
}

static bool read_folder(const char *folder, bool test, struct cifar *ret_set, struct error *error)
{
	char path[PATH_MAX];
	const char *archive;
	int place;
	if (!find_place(folder, test, &place, &archive, error))
		return false;
	if (archive == NULL)
		return read_files(folder, place, test, ret_set, error);
	snprintf(path, sizeof(path), "%s/%s", folder, archive);
	return cifar_read_archive(path, test, ret_set, error);
}

bool cifar_read(const char *path, bool test, struct cifar *ret_set, struct error *error)
{
	struct stat status;
	if (strlen(path) >= PATH_MAX - 64)
		return error_set(error, ERROR_USAGE, "dataset folder: the path is too long");
	if (stat(path, &status) < 0)
		return error_set(error, ERROR_USAGE, "dataset folder %s: %s", path, strerror(errno));
	if (S_ISREG(status.st_mode))
		return cifar_read_archive(path, test, ret_set, error) || error_wrap(error, "dataset");
	return S_ISDIR(status.st_mode)
		       ? read_folder(path, test, ret_set, error)
		       : error_set(error, ERROR_USAGE, "dataset folder %s: is neither a folder nor an archive", path);
}

bool cifar_check_classes(const struct cifar *set, uint32_t classes, struct error *error)
{
	uint32_t highest = 0;
	for (uint64_t i = 0; i < set->count; i++)
		highest = cifar_label(set, i) > highest ? cifar_label(set, i) : highest;
	return highest < classes ||
	       error_set(error, ERROR_USAGE,
			 "--classes %u: the dataset has labels up to %u, so the model needs at least %u classes",
			 classes, highest, highest + 1);
}

void cifar_fini(struct cifar *set)
{
	free(set->records);
	*set = (struct cifar){0};
}
