// Where CIFAR's files are, and reading them whole. See cifar.h. The pixels stay the bytes of the files: the first stage resizes and
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
	enum cifar_form form;
	bool in_subfolder; // as the published archive unpacks
} places[] = {
	{CIFAR_BINARY, false},
	{CIFAR_BINARY, true},
	{CIFAR_PICKLE, false},
	{CIFAR_PICKLE, true},
};
enum { PLACES = sizeof(places) / sizeof(places[0]) };

static const char *subfolder_of(const struct cifar_version *version, int place)
{
	return places[place].in_subfolder ? version->subfolders[places[place].form] : "";
}

// ---- Where they are

// Also a link that leads nowhere: opening it says so, where leaving it out would train on less. A folder named train is not CIFAR-100.
// errno says why not.
static bool exists(const struct cifar_version *version, const char *folder, const char *subfolder, const char *name)
{
	char path[PATH_MAX];
	struct stat status;
	int length = snprintf(path, sizeof(path), "%s/%s%s", folder, subfolder, name);
	errno = ENAMETOOLONG;
	if (length <= 0 || (size_t)length >= sizeof(path) || lstat(path, &status) != 0)
		return false;
	errno = ENOENT;
	bool is_folder = S_ISDIR(status.st_mode) ||
			 (S_ISLNK(status.st_mode) && stat(path, &status) == 0 && S_ISDIR(status.st_mode));
	return !is_folder || version == &cifar_10;
}

// The place that has the first file. PLACES: none; `*ret_archive` then is one of the published archives, or NULL.
static bool find_place(const struct cifar_version *version, const char *folder, bool test, int *ret_place,
		       const char **ret_archive, struct error *error)
{
	char name[CIFAR_NAME_SIZE];
	*ret_archive = NULL;
	for (*ret_place = 0; *ret_place < PLACES; (*ret_place)++) {
		const char *subfolder = subfolder_of(version, *ret_place);
		cifar_file_name(version, places[*ret_place].form, test, 1, name);
		if (exists(version, folder, subfolder, name))
			return true;
		if (errno != ENOENT && errno != ENOTDIR) // such as a folder that may not be searched
			return error_set(error, ERROR_USAGE, "dataset folder %s: %s%s: %s", folder, subfolder, name,
					 strerror(errno));
	}
	for (int i = 0; i < CIFAR_FORMS && *ret_archive == NULL; i++)
		if (exists(version, folder, "", version->archives[i]))
			*ret_archive = version->archives[i];
	return true;
}

bool cifar_find(const struct cifar_version *version, const char *folder, bool test, const char **ret_where,
		struct error *error)
{
	static const char *const words[] = {[CIFAR_BINARY] = "binary", [CIFAR_PICKLE] = "for Python"};
	const char *archive;
	int place;
	if (!find_place(version, folder, test, &place, &archive, error))
		return false;
	*ret_where = place < PLACES ? words[places[place].form] : archive;
	return true;
}

static bool refuse_folder(const struct cifar_version *version, const char *folder, bool test, struct error *error)
{
	char name[CIFAR_NAME_SIZE];
	cifar_file_name(version, CIFAR_PICKLE, test, 1, name);
	return error_set(error, ERROR_USAGE,
			 "dataset folder %s: there is no %s.bin in it, nor in %s; no %s in it, nor in %s; and no %s",
			 folder, name, version->subfolders[CIFAR_BINARY], name, version->subfolders[CIFAR_PICKLE],
			 version->archives[CIFAR_PICKLE]);
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

static bool check_file(const struct cifar_version *version, const struct stat *status, enum cifar_form form,
		       struct error *error)
{
	uint64_t bytes = (uint64_t)status->st_size;
	if (!S_ISREG(status->st_mode))
		return error_set(error, ERROR_USAGE, "is not a regular file");
	if (bytes == 0)
		return error_set(error, ERROR_USAGE, "is empty");
	if (bytes > maximum_file_bytes[form])
		return error_set(error, ERROR_USAGE, "is %" PRIu64 " bytes; the maximum is %" PRIu64, bytes,
				 maximum_file_bytes[form]);
	return form != CIFAR_BINARY || cifar_check_size(version, bytes, error); // before it is read
}

// Appends the open file's images to `set`.
static bool append_file(const struct cifar_version *version, int descriptor, enum cifar_form form, struct cifar *set,
			struct error *error)
{
	struct stat status;
	if (fstat(descriptor, &status) < 0)
		return error_set(error, ERROR_FAILED, "%s", strerror(errno));
	if (!check_file(version, &status, form, error))
		return false;
	uint64_t size = (uint64_t)status.st_size;
	_cleanup_free_ uint8_t *bytes = malloc(size);
	if (bytes == NULL)
		return error_set(error, ERROR_FAILED, "no memory for its %" PRIu64 " bytes", size);
	return read_whole(descriptor, bytes, size, error) && cifar_append(version, form, bytes, size, set, error);
}

static bool read_file(const struct cifar_version *version, const char *folder, const char *subfolder, const char *name,
		      enum cifar_form form, struct cifar *set, struct error *error)
{
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/%s%s", folder, subfolder, name);
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // not to wait, should this be a pipe
	if (descriptor < 0)
		return error_set(error, ERROR_USAGE, "%s: %s", path, strerror(errno));
	bool ok = append_file(version, descriptor, form, set, error);
	close(descriptor);
	return ok || error_wrap(error, "%s", path);
}

// ---- All of them

static bool read_files(const struct cifar_version *version, const char *folder, int place, bool test,
		       struct cifar *ret_set, struct error *error)
{
	struct cifar set = {0};
	char name[CIFAR_NAME_SIZE];
	const char *subfolder = subfolder_of(version, place);
	enum cifar_form form = places[place].form;
	for (int number = 1; number <= cifar_files(version, test); number++) {
		cifar_file_name(version, form, test, number, name);
		if (number > 1 && !exists(version, folder, subfolder, name))
			continue;
		if (!read_file(version, folder, subfolder, name, form, &set, error)) {
			cifar_fini(&set);
			return false;
		}
	}
	*ret_set = set;
	return true;
}

static bool read_folder(const struct cifar_version *version, const char *folder, bool test, struct cifar *ret_set,
			struct error *error)
{
	char path[PATH_MAX];
	const char *archive;
	int place;
	if (!find_place(version, folder, test, &place, &archive, error))
		return false;
	if (place < PLACES)
		return read_files(version, folder, place, test, ret_set, error);
	if (archive == NULL)
		return refuse_folder(version, folder, test, error);
	snprintf(path, sizeof(path), "%s/%s", folder, archive);
	return cifar_read_archive(version, path, test, ret_set, error);
}

bool cifar_read(const struct cifar_version *version, const char *path, bool test, struct cifar *ret_set,
		struct error *error)
{
	struct stat status;
	if (strlen(path) >= PATH_MAX - 64)
		return error_set(error, ERROR_USAGE, "dataset folder: the path is too long");
	if (stat(path, &status) < 0)
		return error_set(error, ERROR_USAGE, "dataset folder %s: %s", path, strerror(errno));
	if (S_ISREG(status.st_mode))
		return cifar_read_archive(version, path, test, ret_set, error) || error_wrap(error, "dataset");
	return S_ISDIR(status.st_mode)
		       ? read_folder(version, path, test, ret_set, error)
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
