// See output_lock.h. The locks are flock()'s.
#include "common/base/output_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { LOCK_NAME_SIZE = NAME_MAX + 1 };

// The process that holds a lock on the open file, by the kernel's list; 0: not known, as in another container.
static int find_holder(int descriptor)
{
	struct stat status;
	char line[160], wanted[64];
	int holder = 0;
	FILE *locks = fopen("/proc/locks", "re");
	if (locks == NULL)
		return 0;
	if (fstat(descriptor, &status) == 0) {
		snprintf(wanted, sizeof(wanted), " %02x:%02x:%llu ", major(status.st_dev), minor(status.st_dev),
			 (unsigned long long)status.st_ino);
		while (holder == 0 && fgets(line, sizeof(line), locks) != NULL) {
			int pid = 0;
			if (strstr(line, wanted) != NULL && sscanf(line, "%*d: FLOCK %*s %*s %d", &pid) == 1 && pid > 0)
				holder = pid;
		}
	}
	fclose(locks);
	return holder;
}

static bool refuse(int descriptor, const char *path, struct error *error)
{
	int holder = find_holder(descriptor);
	char who[40] = "another process";
	if (holder > 0)
		snprintf(who, sizeof(who), "process %d", holder);
	return error_set(error, ERROR_USAGE, "%s: %s is writing it: wait until it ends, or name another file", path,
			 who);
}

enum taken { TAKEN, HELD, NO_LOCKS };

static enum taken take(int descriptor)
{
	int result;
	do
		result = flock(descriptor, LOCK_EX | LOCK_NB);
	while (result != 0 && errno == EINTR);
	return result == 0 ? TAKEN : errno == EWOULDBLOCK ? HELD : NO_LOCKS;
}

bool output_lock_descriptor(int descriptor, const char *path, struct error *error)
{
	return take(descriptor) != HELD || refuse(descriptor, path, error);
}

static char *lock_name(const struct output_path *target, char into[LOCK_NAME_SIZE])
{
	snprintf(into, LOCK_NAME_SIZE, ".%s.lock", target->name);
	return into;
}

// Another user's lock file can be locked as well, where it may be read.
static int open_lock_file(const struct output_path *target, const char *name)
{
	int descriptor = openat(target->folder, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
	if (descriptor < 0 && errno == EACCES)
		descriptor = openat(target->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return descriptor;
}

// False when the file was removed, or replaced, between being opened and locked.
static bool is_still_there(const struct output_path *target, const char *name, int descriptor)
{
	struct stat opened, named;
	return fstat(descriptor, &opened) == 0 && fstatat(target->folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

bool output_lock_take(const struct output_path *target, const char *path, struct output_lock *ret_lock,
		      struct error *error)
{
	char name[LOCK_NAME_SIZE];
	lock_name(target, name);
	for (;;) {
		int descriptor = open_lock_file(target, name);
		if (descriptor < 0) {
			bool asked_wrong = errno == EACCES || errno == EROFS || errno == ENOENT || errno == ELOOP;
			return error_set(error, asked_wrong ? ERROR_USAGE : ERROR_FAILED, "%s: its lock file %s: %s",
					 path, name, strerror(errno));
		}
		switch (take(descriptor)) {
		case HELD:
			refuse(descriptor, path, error);
			close(descriptor);
			return false;
		case NO_LOCKS:
			unlinkat(target->folder, name, 0);
			close(descriptor);
			ret_lock->descriptor = -1;
			return true;
		case TAKEN:
			if (is_still_there(target, name, descriptor)) {
				ret_lock->descriptor = descriptor;
				return true;
			}
			close(descriptor);
		}
	}
}

void output_lock_release(struct output_lock *lock, const struct output_path *target)
{
	char name[LOCK_NAME_SIZE];
	if (lock->descriptor < 0)
		return;
	unlinkat(target->folder, lock_name(target, name), 0); // while it is locked: nobody else's is removed
	close(lock->descriptor);
	lock->descriptor = -1;
}
