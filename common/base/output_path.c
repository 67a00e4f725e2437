// See output_path.h.
#include "common/base/output_path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAXIMUM_LINKS = 40 }; // as the kernel

// Takes the path apart, relative to the folder `at`. 0 or an errno.
static int split(int at, const char *path, struct output_path *ret_path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
	size_t folder_length = (size_t)(name - path);
	if (*path == '\0')
		return ENOENT;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return EISDIR;
	if (folder_length >= sizeof(folder) || strlen(name) > NAME_MAX - OUTPUT_PATH_SPARE)
		return ENAMETOOLONG;
	memcpy(folder, path, folder_length);
	folder[folder_length] = '\0';
	int descriptor = openat(at, folder_length > 0 ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (descriptor < 0)
		return errno;
	ret_path->folder = descriptor;
	strcpy(ret_path->name, name);
	return 0;
}

// Replaces the path by what the link at its end points to, if there is one. 0 or an errno.
static int follow(struct output_path *path, bool *ret_followed)
{
	char target[PATH_MAX];
	// readlinkat() alone would follow links that the kernel refuses to follow, such as a stranger's in /tmp.
	int probe = openat(path->folder, path->name, O_PATH | O_CLOEXEC);
	if (probe < 0 && errno != ENOENT)
		return errno;
	if (probe >= 0)
		close(probe);
	ssize_t length = readlinkat(path->folder, path->name, target, sizeof(target));
	*ret_followed = length >= 0;
	if (length < 0)
		return errno == EINVAL || errno == ENOENT ? 0 : errno; // not a link, or nothing
	if ((size_t)length >= sizeof(target))
		return ENAMETOOLONG;
	target[length] = '\0';
	struct output_path next = {.folder = -1};
	int failure = split(path->folder, target, &next);
	if (failure != 0)
		return failure;
	close(path->folder);
	*path = next;
	return 0;
}

int output_path_resolve(const char *path, struct output_path *ret_path)
{
	struct output_path found = {.folder = -1};
	bool followed = true;
	int failure = split(AT_FDCWD, path, &found);
	if (failure != 0)
		return failure;
	for (int links = 0; followed && failure == 0; links++)
		failure = links > MAXIMUM_LINKS ? ELOOP : follow(&found, &followed);
	if (failure != 0) {
		close(found.folder);
		return failure;
	}
	*ret_path = found;
	return 0;
}

void output_path_fini(struct output_path *path)
{
	close(path->folder);
	path->folder = -1;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool output_path_is_same(const char *a, const char *b)
{
	struct stat status_a, status_b;
	struct output_path path_a, path_b;
	if (stat(a, &status_a) == 0 && stat(b, &status_b) == 0)
		return is_same_file(&status_a, &status_b);
	if (output_path_resolve(a, &path_a) != 0)
		return false;
	bool same = false;
	if (output_path_resolve(b, &path_b) == 0) {
		same = fstat(path_a.folder, &status_a) == 0 && fstat(path_b.folder, &status_b) == 0 &&
		       is_same_file(&status_a, &status_b) && strcmp(path_a.name, path_b.name) == 0;
		output_path_fini(&path_b);
	}
	output_path_fini(&path_a);
	return same;
}
