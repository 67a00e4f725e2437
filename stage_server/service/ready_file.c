// See ready_file.h.
#include "stage_server/service/ready_file.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void ready_file_begin(struct ready_file *file, const char *path)
{
	struct stat status;
	*file = (struct ready_file){.path = path};
	char *target = path != NULL ? realpath(path, NULL) : NULL;
	if (target != NULL && stat(target, &status) == 0 && S_ISREG(status.st_mode))
		unlink(target);
	free(target);
}

void ready_file_note(struct ready_file *file)
{
	struct stat status;
	if (file->path == NULL || stat(file->path, &status) != 0)
		return;
	file->device = status.st_dev;
	file->inode = status.st_ino;
	file->changed = status.st_mtim;
	file->is_written = true;
}

static bool is_ours(const struct ready_file *file, const struct stat *status)
{
	return status->st_dev == file->device && status->st_ino == file->inode &&
	       status->st_mtim.tv_sec == file->changed.tv_sec && status->st_mtim.tv_nsec == file->changed.tv_nsec;
}

void ready_file_remove(struct ready_file *file)
{
	struct stat status;
	if (!file->is_written)
		return;
	file->is_written = false;
	char *target = realpath(file->path, NULL);
	if (target != NULL && stat(target, &status) == 0 && is_ours(file, &status))
		unlink(target);
	free(target);
}
