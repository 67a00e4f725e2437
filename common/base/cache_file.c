// See cache_file.h.
#include "common/base/cache_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/strings.h"

static bool is_folder(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool make_folder(const char *path)
{
	return mkdir(path, 0755) == 0 || (errno == EEXIST && is_folder(path));
}

bool cache_file_make_folders(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	if (copy == NULL)
		return false;
	for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (!make_folder(copy))
			return false;
		*slash = '/';
	}
	return true;
}

// `base`, a folder that is to be there, and what is made below it.
static char *path_below(const char *base, const char *below, const char *name)
{
	char *path = NULL;
	if (base == NULL || base[0] != '/' || !is_folder(base) ||
	    asprintf(&path, "%s%s/penstock/%s", base, below, name) < 0)
		return NULL;
	_cleanup_free_ char *folder = strndup(path, (size_t)(strrchr(path, '/') - path));
	struct stat status;
	bool is_there = stat(path, &status) == 0;
	if (folder != NULL && cache_file_make_folders(path) &&
	    (is_there ? S_ISREG(status.st_mode) && access(path, R_OK) == 0 : access(folder, W_OK | X_OK) == 0))
		return path;
	free(path);
	return NULL;
}

char *cache_file_path(const char *name)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	char *path = NULL;
	if (cache != NULL && cache[0] == '/') {
		_cleanup_free_ char *above = strdup(cache);
		size_t length = above != NULL ? strlen(above) : 0;
		while (length > 1 && above[length - 1] == '/')
			above[--length] = '\0';
		char *last = length > 1 ? strrchr(above, '/') : NULL;
		if (last != NULL) {
			last[last == above] = '\0';
			path = path_below(above, cache + (last == above ? 0 : last - above), name);
		}
	}
	if (path == NULL)
		path = path_below(getenv("HOME"), "/.cache", name);
	return path != NULL ? path : path_below("/var/cache", "", name);
}
