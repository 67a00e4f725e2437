// CIFAR-10's binary files, read whole. See cifar10.h. The pixels stay the bytes of the file: the first stage
// resizes and normalises them.
#include "coordinator/dataset/cifar10.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRAINING_FILES = 5 };

static const char subfolder[] = "cifar-10-batches-bin"; // as the published archive unpacks
static const uint64_t maximum_file_bytes = UINT64_C(1) << 31;

static void file_name(bool test, int number, char *into, size_t size)
{
	if (test)
		snprintf(into, size, "test_batch.bin");
	else
		snprintf(into, size, "data_batch_%d.bin", number);
}

// Also a link that leads nowhere: opening it says so, where leaving it out would train on less. errno says why not.
static bool exists(const char *folder, const char *name)
{
	char path[PATH_MAX];
	struct stat status;
	int length = snprintf(path, sizeof(path), "%s/%s", folder, name);
	errno = ENAMETOOLONG;
	return length > 0 && (size_t)length < sizeof(path) && lstat(path, &status) == 0;
}

// The folder that holds the files: `folder` itself, or the one the archive makes inside it.
static bool find_folder(const char *folder, const char *first_name, char *into, size_t size, struct error *error)
{
	struct stat status;
	if (stat(folder, &status) < 0)
		return error_set(error, ERROR_USAGE, "dataset folder %s: %s", folder, strerror(errno));
	if (!S_ISDIR(status.st_mode))
		return error_set(error, ERROR_USAGE, "dataset folder %s: is not a folder", folder);
	if (strlen(folder) + sizeof(subfolder) + 1 > size)
		return error_set(error, ERROR_USAGE, "dataset folder: the path is too long");
	strcpy(into, folder);
	if (exists(into, first_name))
		return true;
	if (errno != ENOENT) // such as a folder that may not be searched
		return error_set(error, ERROR_USAGE, "dataset folder %s: %s: %s", folder, first_name, strerror(errno));
	snprintf(into, size, "%s/%s", folder, subfolder);
	if (exists(into, first_name))
		return true;
	if (exists(folder, "data_batch_1") || exists(folder, "cifar-10-batches-py"))
		return error_set(error, ERROR_USAGE,
				 "dataset folder %s: holds CIFAR-10's version for Python; the binary version is wanted "
				 "(cifar-10-binary.tar.gz: data_batch_1.bin ... test_batch.bin)",
				 folder);
	return error_set(error, ERROR_USAGE, "dataset folder %s: there is no %s in it, nor in %s", folder, first_name,
			 subfolder);
}

static bool check_size(const struct stat *status, struct error *error)
{
	uint64_t bytes = (uint64_t)status->st_size;
	if (!S_ISREG(status->st_mode))
		return error_set(error, ERROR_USAGE, "is not a regular file");
	if (bytes == 0)
		return error_set(error, ERROR_USAGE, "is empty");
	if (bytes > maximum_file_bytes)
		return error_set(error, ERROR_USAGE, "is %" PRIu64 " bytes; the most that is read is %" PRIu64, bytes,
				 maximum_file_bytes);
	if (bytes % CIFAR10_RECORD_BYTES != 0)
		return error_set(error, ERROR_USAGE,
				 "is cut short: %" PRIu64 " bytes are %" PRIu64
				 " whole records of %d bytes and %" PRIu64 " bytes of another",
				 bytes, bytes / CIFAR10_RECORD_BYTES, CIFAR10_RECORD_BYTES,
				 bytes % CIFAR10_RECORD_BYTES);
	return true;
}

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

static bool check_labels(const uint8_t *records, uint64_t count, struct error *error)
{
	for (uint64_t i = 0; i < count; i++) {
		unsigned label = records[i * CIFAR10_RECORD_BYTES];
		if (label >= CIFAR10_CLASSES)
			return error_set(error, ERROR_USAGE,
					 "record %" PRIu64 " (from 0) has label %u; labels are 0 to %d: this is not "
					 "CIFAR-10's binary format, or damaged",
					 i, label, CIFAR10_CLASSES - 1);
	}
	return true;
}

// Appends the open file's records to `set`.
static bool append_file(int descriptor, struct cifar10 *set, struct error *error)
{
	struct stat status;
	if (fstat(descriptor, &status) < 0)
		return error_set(error, ERROR_FAILED, "%s", strerror(errno));
	if (!check_size(&status, error))
		return false;
	uint64_t before = set->count * CIFAR10_RECORD_BYTES, bytes = (uint64_t)status.st_size;
	uint8_t *grown = realloc(set->records, before + bytes);
	if (grown == NULL)
		return error_set(error, ERROR_FAILED, "no memory for its %" PRIu64 " bytes", bytes);
	set->records = grown;
	if (!read_whole(descriptor, grown + before, bytes, error) ||
	    !check_labels(grown + before, bytes / CIFAR10_RECORD_BYTES, error))
		return false;
	set->count += bytes / CIFAR10_RECORD_BYTES;
	return true;
}

static bool read_file(const char *folder, const char *name, struct cifar10 *set, struct error *error)
{
	char path[PATH_MAX + 32];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // not to wait, should this be a pipe
	if (descriptor < 0)
		return error_set(error, ERROR_USAGE, "%s: %s", path, strerror(errno));
	bool ok = append_file(descriptor, set, error);
	close(descriptor);
	return ok || error_wrap(error, "%s", path);
}

bool cifar10_read(const char *folder, bool test, struct cifar10 *ret_set, struct error *error)
{
	char name[32], found[PATH_MAX];
	file_name(test, 1, name, sizeof(name));
	if (!find_folder(folder, name, found, sizeof(found), error))
		return false;
	struct cifar10 set = {0};
	for (int number = 1; number <= (test ? 1 : TRAINING_FILES); number++) {
		file_name(test, number, name, sizeof(name));
		if (number > 1 && !exists(found, name))
			continue;
		if (!read_file(found, name, &set, error)) {
			cifar10_fini(&set);
			return false;
		}
	}
	*ret_set = set;
	return true;
}

void cifar10_fini(struct cifar10 *set)
{
	free(set->records);
	*set = (struct cifar10){0};
}
