// The file of answers. Lines are only added, each in one write under a lock, so several coordinators can share the file. The last line
// about a question counts.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/output_path.h"
#include "common/base/strings.h"
#include "coordinator/numerics/internal.h"

#define LOCK_TIMEOUT_NS 5000000000ull // other processes hold the lock during a write
#define LOCK_RETRY_NS   5000000l

// A wrong path is ERROR_USAGE; a full or broken disk is not.
static bool fail(const struct numerics *numerics, const char *what, struct error *error)
{
	int why = errno;
	bool is_disk = why == ENOSPC || why == EDQUOT || why == EFBIG || why == EIO || why == EWOULDBLOCK;
	return error_set(error, numerics->is_named && !is_disk ? ERROR_USAGE : ERROR_FAILED, "%s: %s: %s",
			 numerics->path, what, strerror(why));
}

// A wrong line is an error in a named file; in the cache it is ignored and counted.
static bool take_line(struct numerics *numerics, const char *line, size_t length, struct error *error)
{
	struct error why;
	numerics->read_lines++;
	if (strspn(line, " \t\r") >= length || numerics_read_line(numerics, line, length, &why))
		return true;
	error_set(error, why.code, "%s:%" PRIu64 ": %s", numerics->path, numerics->read_lines, why.message);
	if (numerics->is_named || why.code != ERROR_USAGE)
		return false;
	if (numerics->wrong_lines++ == 0)
		snprintf(numerics->first_wrong, sizeof(numerics->first_wrong), "%s", error->message);
	return true;
}

// `text` ends with a zero.
static bool take_text(struct numerics *numerics, const char *text, size_t size, struct error *error)
{
	for (size_t at = 0; at < size;) {
		const char *end = memchr(text + at, '\n', size - at);
		size_t length = end != NULL ? (size_t)(end - text) - at : size - at;
		if (!take_line(numerics, text + at, length, error))
			return false;
		at += length + 1;
	}
	return true;
}

// Reads the lines that were added since the last read. If the path names another file now, or the file is shorter, reads all of it.
static bool read_news(struct numerics *numerics, int file, struct error *error)
{
	struct stat status;
	if (fstat(file, &status) != 0)
		return fail(numerics, "read it", error);
	if (!S_ISREG(status.st_mode))
		return error_set(error, ERROR_USAGE, "%s is not a file", numerics->path);
	if (status.st_size > NUMERICS_MAXIMUM_FILE_BYTES)
		return error_set(error, ERROR_USAGE, "%s has more than %d MiB", numerics->path,
				 NUMERICS_MAXIMUM_FILE_BYTES >> 20);
	if (status.st_dev != numerics->device || status.st_ino != numerics->inode ||
	    status.st_size < numerics->read_bytes)
		numerics->read_bytes = 0, numerics->read_lines = 0;
	numerics->device = status.st_dev;
	numerics->inode = status.st_ino;
	size_t size = (size_t)(status.st_size - numerics->read_bytes);
	_cleanup_free_ char *text = malloc(size + 1);
	if (text == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	ssize_t got = pread(file, text, size, numerics->read_bytes);
	if (got < 0)
		return fail(numerics, "read it", error);
	text[got] = '\0';
	numerics->read_bytes += got;
	return take_text(numerics, text, (size_t)got, error);
}

bool numerics_read_file(struct numerics *numerics, struct error *error)
{
	int file = open(numerics->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file < 0)
		return errno == ENOENT || fail(numerics, "open it", error);
	bool ok = read_news(numerics, file, error);
	close(file);
	return ok;
}

bool numerics_check_write(const struct numerics *numerics, struct error *error)
{
	struct output_path place;
	errno = output_path_resolve(numerics->path, &place);
	if (errno != 0)
		return fail(numerics, "create it", error);
	bool is_there = faccessat(place.folder, place.name, F_OK, AT_EACCESS) == 0;
	int failure = is_there ? faccessat(place.folder, place.name, W_OK, AT_EACCESS)
			       : faccessat(place.folder, ".", W_OK | X_OK, AT_EACCESS);
	int why = errno;
	output_path_fini(&place);
	errno = why;
	return failure == 0 || fail(numerics, is_there ? "write it" : "create it", error);
}

static bool lock_file(const struct numerics *numerics, int file, struct error *error)
{
	uint64_t begin_ns = clock_now_ns();
	while (flock(file, LOCK_EX | LOCK_NB) != 0) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || clock_now_ns() - begin_ns > LOCK_TIMEOUT_NS)
			return fail(numerics, "lock it", error);
		nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_NS}, NULL);
	}
	return true;
}

// If only a part of the line was written, that part is removed.
static bool write_line(struct numerics *numerics, int file, const struct numerics_answer *answer, struct error *error)
{
	_cleanup_free_ char *line = numerics_write_line(answer), *text = NULL;
	char last = '\n'; // an editor may have omitted the last end of line
	if (numerics->read_bytes > 0 && pread(file, &last, 1, numerics->read_bytes - 1) != 1)
		return fail(numerics, "read it", error);
	int length = line != NULL ? asprintf(&text, "%s%s\n", last == '\n' ? "" : "\n", line) : -1;
	if (length < 0) {
		text = NULL;
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	ssize_t written = write(file, text, (size_t)length);
	if (written == length)
		return true;
	if (written >= 0)
		errno = ENOSPC;
	int why = errno;
	if (written > 0 && ftruncate(file, numerics->read_bytes) != 0)
		why = errno;
	errno = why;
	return fail(numerics, "write it", error);
}

bool numerics_append(struct numerics *numerics, const struct numerics_answer *answer,
		     const struct numerics_answer *refused, struct error *error)
{
	int file = open(numerics->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);
	if (file < 0)
		return fail(numerics, "open it", error);
	bool ok = lock_file(numerics, file, error) && read_news(numerics, file, error);
	if (ok && numerics_find(numerics, answer->machine, answer->question) == refused)
		ok = write_line(numerics, file, answer, error) && read_news(numerics, file, error);
	close(file);
	return ok;
}
