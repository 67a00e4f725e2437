// See file.h.
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { PIPE_TIMEOUT_MS = 1000, FIRST_BYTES = 16 << 10 };

// Waits until there is something to read, until `end_ns`.
static bool wait_for_more(int descriptor, uint64_t end_ns)
{
	uint64_t now_ns = clock_now_ns();
	struct pollfd poll_for = {.fd = descriptor, .events = POLLIN};
	int left_ms = now_ns < end_ns ? (int)((end_ns - now_ns + 999999) / 1000000) : 0;
	int ready = left_ms > 0 ? poll(&poll_for, 1, left_ms) : 0;
	return ready > 0 || (ready < 0 && errno == EINTR);
}

// Freed memory keeps nothing of it: it may be a key.
static void forget(char *text, size_t size)
{
	if (text != NULL)
		explicit_bzero(text, size);
	free(text);
}

static bool resize(char **text, size_t used, size_t size)
{
	char *fresh = malloc(size); // realloc may leave a copy behind
	if (fresh == NULL)
		return false;
	if (used > 0)
		memcpy(fresh, *text, used);
	forget(*text, used);
	*text = fresh;
	return true;
}

// `*text` is owned by the caller, also on failure; `*used` of it is filled.
static bool read_all(int descriptor, size_t maximum_bytes, char **text, size_t *used, struct error *error)
{
	uint64_t end_ns = clock_now_ns() + PIPE_TIMEOUT_MS * UINT64_C(1000000);
	size_t size = 0;
	for (;;) {
		if (*used == size) {
			size_t wanted = size == 0 ? FIRST_BYTES : 2 * size;
			size = wanted < maximum_bytes + 1 ? wanted : maximum_bytes + 1;
			if (!resize(text, *used, size))
				return error_set(error, ERROR_FAILED, "out of memory");
		}
		ssize_t got = read(descriptor, *text + *used, size - *used);
		bool waits = got < 0 && errno == EAGAIN;
		if (got == 0)
			return resize(text, *used, *used + 1) || error_set(error, ERROR_FAILED, "out of memory");
		if (got > 0)
			*used += (size_t)got;
		else if (!waits && errno != EINTR)
			return error_set(error, ERROR_USAGE, "%s", strerror(errno));
		if (*used > maximum_bytes)
			return error_set(error, ERROR_USAGE, "is larger than %zu bytes", maximum_bytes);
		if (waits && !wait_for_more(descriptor, end_ns))
			return error_set(error, ERROR_USAGE, "is a pipe that does not end");
	}
}

bool file_read(const char *path, size_t maximum_bytes, char **ret_text, size_t *ret_size, struct error *error)
{
	// A pipe without a writer would keep open() waiting, a terminal read().
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0)
		return error_set(error, ERROR_USAGE, "%s", strerror(errno));
	char *text = NULL;
	size_t used = 0;
	struct stat status;
	bool ok = isatty(descriptor) ? error_set(error, ERROR_USAGE, "is a terminal")
				     : read_all(descriptor, maximum_bytes, &text, &used, error);
	if (ok && used == 0 && fstat(descriptor, &status) == 0 && S_ISFIFO(status.st_mode))
		ok = error_set(error, ERROR_USAGE, "is a pipe without a writer");
	close(descriptor);
	if (!ok) {
		forget(text, used);
		return false;
	}
	text[used] = '\0';
	*ret_text = text;
	*ret_size = used;
	return true;
}

bool file_flush_output(struct error *error)
{
	errno = 0;
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return true;
	if (errno ==
	    0) { // An earlier write failed, and stdio does not keep the reason: another write fails for the same one.
		clearerr(stdout);
		if (putchar('\n') != EOF)
			fflush(stdout);
	}
	return error_set(error, ERROR_FAILED, "standard output could not be written: %s",
			 strerror(errno != 0 ? errno : EIO));
}
