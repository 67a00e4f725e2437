// See output_file.h.
#include "common/base/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/output_lock.h"
#include "common/base/output_path.h"

struct output_file {
	char *path; // as the user named it, for messages
	struct output_path target;
	struct output_lock lock;
	int descriptor;
	char temporary[NAME_MAX + 1]; // the file's name in the target's folder; "": none yet
};

static bool refuse(const char *path, int failure, struct error *error)
{
	bool asked_wrong = failure == ENOENT || failure == ENOTDIR || failure == EACCES || failure == EPERM ||
			   failure == EROFS || failure == ENAMETOOLONG || failure == EISDIR || failure == ELOOP;
	return error_set(error, asked_wrong ? ERROR_USAGE : ERROR_FAILED, "%s: %s", path, strerror(failure));
}

static bool fail(const struct output_file *file, const char *what, int failure, struct error *error)
{
	return error_set(error, ERROR_FAILED, "%s: %s: %s", file->path, what, strerror(failure));
}

// ".NAME.1a2b3c4d.part"
static void make_name(struct output_file *file)
{
	uint32_t random = 0;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint32_t)getpid();
	snprintf(file->temporary, sizeof(file->temporary), ".%s.%08x.part", file->target.name, random);
}

// Gives a file without a name the name in file->temporary. 0 or an errno.
static int link_as(const struct output_file *file, int descriptor, const char *name)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
	return linkat(AT_FDCWD, path, file->target.folder, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

static int link_temporary(struct output_file *file, int descriptor)
{
	int failure;
	do {
		make_name(file);
		failure = link_as(file, descriptor, file->temporary);
	} while (failure == EEXIST);
	return failure;
}

// A file without a name; -1 where there can be none. That it can get a name later is tried first with another one: found out at
// the end of a long run, it would be too late.
static int open_unnamed(struct output_file *file)
{
	int folder = file->target.folder, flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
	int trial = openat(folder, ".", flags, 0600);
	if (trial < 0)
		return -1;
	bool works = link_temporary(file, trial) == 0 && unlinkat(folder, file->temporary, 0) == 0;
	close(trial);
	file->temporary[0] = '\0';
	return works ? openat(folder, ".", flags, 0666) : -1;
}

static int open_named(struct output_file *file)
{
	int descriptor;
	do {
		make_name(file);
		descriptor = openat(file->target.folder, file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	} while (descriptor < 0 && errno == EEXIST);
	if (descriptor < 0)
		file->temporary[0] = '\0';
	return descriptor;
}

// The new file is for the same people as the earlier one. A group that it cannot be given to gets no rights by another's name.
static void take_attributes(int descriptor, const struct stat *earlier)
{
	struct stat status;
	mode_t mode = earlier->st_mode & (S_IRWXU | S_IRWXG | S_IRWXO);
	if (fstat(descriptor, &status) != 0)
		return;
	bool is_own = status.st_uid == earlier->st_uid && status.st_gid == earlier->st_gid;
	if (!is_own && fchown(descriptor, earlier->st_uid, earlier->st_gid) != 0 &&
	    fchown(descriptor, (uid_t)-1, earlier->st_gid) != 0)
		mode &= ~(mode_t)S_IRWXG;
	(void)fchmod(descriptor, mode); // a file system without modes has none to keep
}

static bool open_file(struct output_file *file, struct error *error)
{
	struct stat earlier;
	int folder = file->target.folder;
	bool exists = fstatat(folder, file->target.name, &earlier, AT_SYMLINK_NOFOLLOW) == 0;
	if (!exists && errno != ENOENT)
		return refuse(file->path, errno, error);
	if (exists && !S_ISREG(earlier.st_mode))
		return error_set(error, ERROR_USAGE, "%s: exists, and is not a regular file", file->path);
	if (exists && faccessat(folder, file->target.name, W_OK, AT_EACCESS) != 0)
		return refuse(file->path, errno, error);
	file->descriptor = open_unnamed(file);
	if (file->descriptor < 0)
		file->descriptor = open_named(file);
	if (file->descriptor < 0)
		return refuse(file->path, errno, error);
	if (exists)
		take_attributes(file->descriptor, &earlier);
	return true;
}

static void destroy(struct output_file *file)
{
	if (file == NULL)
		return;
	if (file->descriptor >= 0)
		close(file->descriptor);
	if (file->temporary[0] != '\0')
		unlinkat(file->target.folder, file->temporary, 0);
	if (file->target.folder >= 0) {
		output_lock_release(&file->lock, &file->target);
		output_path_fini(&file->target);
	}
	free(file->path);
	free(file);
}

bool output_file_create(const char *path, bool is_locked, struct output_file **ret_file, struct error *error)
{
	struct output_file *file = calloc(1, sizeof(*file));
	if (file == NULL || (file->path = strdup(path)) == NULL) {
		free(file);
		return error_set(error, ERROR_FAILED, "%s: out of memory", path);
	}
	file->descriptor = file->lock.descriptor = file->target.folder = -1;
	int failure = output_path_resolve(path, &file->target);
	bool ok = failure == 0 || refuse(path, failure, error);
	ok = ok && (!is_locked || output_lock_take(&file->target, path, &file->lock, error)) && open_file(file, error);
	if (!ok) {
		destroy(file);
		return false;
	}
	*ret_file = file;
	return true;
}

int output_file_descriptor(const struct output_file *file)
{
	return file->descriptor;
}

bool output_file_append(struct output_file *file, const void *data, size_t bytes, struct error *error)
{
	const char *from = data;
	while (bytes > 0) {
		ssize_t written = write(file->descriptor, from, bytes);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return fail(file, "write", errno, error);
		from += written;
		bytes -= (size_t)written;
	}
	return true;
}

// The new name is safe only when the folder is on the disk as well. Some file systems cannot sync a folder, and some folders may
// not be read: then the system does it in its own time.
static void sync_folder(int folder)
{
	int descriptor = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (descriptor < 0)
		return;
	fsync(descriptor);
	close(descriptor);
}

// 0 or an errno.
static int take_place(struct output_file *file)
{
	const struct output_path *target = &file->target;
	if (file->temporary[0] == '\0') {
		int failure = link_as(file, file->descriptor, target->name);
		if (failure != EEXIST)
			return failure;
		failure = link_temporary(file, file->descriptor);
		if (failure != 0) {
			file->temporary[0] = '\0';
			return failure;
		}
	}
	if (renameat(target->folder, file->temporary, target->folder, target->name) != 0)
		return errno;
	file->temporary[0] = '\0';
	return 0;
}

bool output_file_finish(struct output_file *file, struct error *error)
{
	bool ok = fsync(file->descriptor) == 0 || fail(file, "sync", errno, error);
	int failure = ok ? take_place(file) : 0;
	if (failure != 0)
		ok = fail(file, "rename", failure, error);
	if (ok)
		sync_folder(file->target.folder);
	destroy(file);
	return ok;
}

void output_file_abort(struct output_file *file)
{
	destroy(file);
}

bool output_file_replace(const char *path, const void *data, size_t bytes, struct error *error)
{
	struct output_file *file;
	if (!output_file_create(path, false, &file, error))
		return false;
	if (output_file_append(file, data, bytes, error))
		return output_file_finish(file, error);
	output_file_abort(file);
	return false;
}
