// See class_folder.h.
#include "coordinator/dataset/class_folder.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/base/strings.h"
#include "coordinator/dataset/pictures.h"

enum { MAXIMUM_FOLDERS = 100000, SHOWN_BYTES = 300 };

// A folder of the class. Parents come before their children.
struct folder {
	char *path; // below the root
	uint32_t parent;
	dev_t device;
	ino_t inode;
};

struct folders {
	const char *root;
	struct stat root_status;
	struct folder *all;
	uint32_t count, room;
};

static bool refuse(const char *root, const char *path, const char *why, struct error *error)
{
	char whole[PATH_MAX], shown[SHOWN_BYTES];
	snprintf(whole, sizeof(whole), "%s%s%s", root, path[0] != '\0' ? "/" : "", path);
	return error_set(error, ERROR_USAGE, "%s: %s", strings_printable(whole, shown, sizeof(shown)), why);
}

static bool join(const char *folder, const char *name, char into[PATH_MAX])
{
	int length = snprintf(into, PATH_MAX, "%s%s%s", folder, folder[0] != '\0' ? "/" : "", name);
	return length >= 0 && length < PATH_MAX;
}

// ---- Entries of one folder

// `kind` is the entry's, if the file system tells it. Links are followed.
static bool is_folder(const char *path, unsigned char kind, bool *ret_folder, int *ret_errno)
{
	struct stat status;
	*ret_folder = kind == DT_DIR;
	if (kind != DT_LNK && kind != DT_UNKNOWN)
		return true;
	if (stat(path, &status) < 0) {
		*ret_errno = errno;
		return false;
	}
	*ret_folder = S_ISDIR(status.st_mode);
	return true;
}

static bool is_image_of_another_format(const char *extension)
{
	static const char *const others[] = {".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"};
	for (size_t i = 0; extension != NULL && i < sizeof(others) / sizeof(others[0]); i++)
		if (strcasecmp(extension, others[i]) == 0)
			return true;
	return false;
}

// Adds the paths of its folders, or of its image files, to `names`, in no order.
static bool list(const char *root, const char *folder, DIR *directory, bool wants_folders, struct names *names,
		 struct error *error)
{
	const struct dirent *entry;
	char path[PATH_MAX], whole[PATH_MAX];
	while ((errno = 0, entry = readdir(directory)) != NULL) {
		const char *name = entry->d_name, *extension = strrchr(name, '.');
		bool is_readable = pictures_can_read(extension), is_a_folder;
		int code = 0;
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		if (!join(folder, name, path) || !join(root, path, whole))
			return refuse(root, folder, "a path below it is too long", error);
		if (!is_folder(whole, entry->d_type, &is_a_folder, &code)) {
			if (!wants_folders && !is_readable)
				continue;
			return refuse(root, path, strerror(code), error);
		}
		if (!wants_folders && !is_a_folder && is_image_of_another_format(extension))
			return refuse(root, path, "is an image of a format that is not read: only JPEG and PNG are",
				      error);
		if ((wants_folders ? is_a_folder : !is_a_folder && is_readable) && !names_add(names, path, error))
			return false;
	}
	return errno == 0 || refuse(root, folder, strerror(errno), error);
}

static int compare_names(const void *left, const void *right, void *user)
{
	const struct names *names = user;
	return strcmp(names->text + *(const uint64_t *)left, names->text + *(const uint64_t *)right);
}

// The same, sorted; added after those that `names` has.
static bool list_sorted(const char *root, const char *folder, bool wants_folders, struct names *names,
			struct error *error)
{
	char path[PATH_MAX];
	uint64_t before = names->count;
	DIR *directory = join(root, folder, path) ? opendir(folder[0] != '\0' ? path : root) : NULL;
	if (directory == NULL)
		return refuse(root, folder, strerror(errno), error);
	bool ok = list(root, folder, directory, wants_folders, names, error);
	closedir(directory);
	if (ok && names->count > before)
		qsort_r(names->offsets + before, names->count - before, sizeof(*names->offsets), compare_names, names);
	return ok;
}

bool class_folder_list(const char *folder, struct names *ret_names, struct error *error)
{
	return list_sorted(folder, "", true, ret_names, error);
}

// ---- All folders of a class

static bool check_loop(const struct folders *folders, const struct folder *folder, struct error *error)
{
	bool is_loop = folders->root_status.st_dev == folder->device && folders->root_status.st_ino == folder->inode;
	for (uint32_t at = folder->parent; at != UINT32_MAX; at = folders->all[at].parent)
		is_loop |= folders->all[at].device == folder->device && folders->all[at].inode == folder->inode;
	return !is_loop ||
	       refuse(folders->root, folder->path, "is a symbolic link to a folder that contains it", error);
}

static bool add_folder(struct folders *folders, const char *path, uint32_t parent, struct error *error)
{
	char whole[PATH_MAX];
	struct stat status;
	if (folders->count == MAXIMUM_FOLDERS)
		return refuse(folders->root, path, "the class has too many folders", error);
	if (folders->count == folders->room) {
		uint32_t room = folders->room * 2 + 16;
		struct folder *grown = realloc(folders->all, room * sizeof(*grown));
		if (grown == NULL)
			return error_set(error, ERROR_FAILED, "out of memory");
		folders->all = grown;
		folders->room = room;
	}
	if (!join(folders->root, path, whole) || stat(whole, &status) < 0)
		return refuse(folders->root, path, strerror(errno), error);
	struct folder folder = {
		.path = strdup(path), .parent = parent, .device = status.st_dev, .inode = status.st_ino};
	if (folder.path == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	folders->all[folders->count++] = folder;
	return check_loop(folders, &folder, error);
}

static bool add_children(struct folders *folders, uint32_t parent, struct error *error)
{
	struct names names = {0};
	bool ok = list_sorted(folders->root, folders->all[parent].path, true, &names, error);
	for (uint64_t i = 0; ok && i < names.count; i++)
		ok = add_folder(folders, names_get(&names, i), parent, error);
	names_fini(&names);
	return ok;
}

static int compare_folders(const void *left, const void *right)
{
	return strcmp(((const struct folder *)left)->path, ((const struct folder *)right)->path);
}

bool class_folder_files(const char *root, const char *class_name, bool first_only, struct names *files,
			struct error *error)
{
	struct folders folders = {.root = root};
	uint64_t before = files->count;
	bool ok = stat(root, &folders.root_status) == 0 || refuse(root, "", strerror(errno), error);
	ok = ok && add_folder(&folders, class_name, UINT32_MAX, error);
	for (uint32_t i = 0; ok && i < folders.count; i++)
		ok = add_children(&folders, i, error);
	if (ok)
		qsort(folders.all, folders.count, sizeof(*folders.all), compare_folders);
	for (uint32_t i = 0; ok && i < folders.count && !(first_only && files->count > before); i++)
		ok = list_sorted(root, folders.all[i].path, false, files, error);
	for (uint32_t i = 0; i < folders.count; i++)
		free(folders.all[i].path);
	free(folders.all);
	return ok;
}
