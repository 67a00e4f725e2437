// See files.h.
#include "common/base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

FILE *files_open(const char *path)
{
	struct stat status;
	int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (file < 0) {
		errno = errno == ENXIO ? ESPIPE : errno; // a socket
		return NULL;
	}
	int code = 0;
	if (fstat(file, &status) < 0)
		code = errno;
	else if (S_ISDIR(status.st_mode))
		code = EISDIR;
	else if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode))
		code = ESPIPE;
	FILE *stream = code == 0 ? fdopen(file, "r") : NULL;
	if (stream != NULL)
		return stream;
	code = code != 0 ? code : errno;
	close(file);
	errno = code;
	return NULL;
}

const char *files_why_not(int code)
{
	return code == ESPIPE ? "is a pipe or a socket, where a file is wanted that can be read again" : strerror(code);
}

void files_allow_all_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}
