// See output.h. Both streams are replaced by others of stdio's that ask the descriptor before they write.
#include "coordinator/command/output.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/command/command.h"

// PATIENCE_MS: with a reader that is slow, once; then none until it reads.
enum { PATIENCE_MS = 100, POLL_MS = 100, NOTICE_SIZE = 96 };

struct output {
	int descriptor;
	bool is_stuck;
	uint64_t dropped; // lines
};

// Of the process, as the streams are. The main thread's.
static struct output outputs[] = {{.descriptor = STDOUT_FILENO}, {.descriptor = STDERR_FILENO}};
static bool waits_for_readers;

// A pipe that is ready takes PIPE_BUF bytes at once. What else is wrong with it, the write finds.
static bool is_ready(const struct output *output, int patience_ms)
{
	struct pollfd file = {.fd = output->descriptor, .events = POLLOUT};
	int count;
	while ((count = poll(&file, 1, patience_ms)) < 0 && errno == EINTR && !command_is_interrupted())
		;
	return count > 0;
}

static bool await_room(struct output *output)
{
	bool ready = is_ready(output, output->is_stuck ? 0 : PATIENCE_MS);
	while (!ready && waits_for_readers && !command_is_interrupted())
		ready = is_ready(output, POLL_MS);
	output->is_stuck = !ready;
	return ready;
}

static uint64_t count_lines(const char *text, size_t size)
{
	uint64_t lines = 0;
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	return lines > 0 ? lines : 1; // a progress line ends with none
}

// A terminal may take a part, and then keep the process waiting for the rest: a signal ends that (command/signals.c).
static bool write_piece(struct output *output, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t written = write(output->descriptor, text, size);
		if (written < 0 && errno == EINTR && !command_is_interrupted())
			continue;
		if (written < 0 && errno != EINTR)
			return false;
		if (command_is_interrupted() && (written < 0 || (size_t)written < size))
			return true; // the rest is left out
		text += written;
		size -= (size_t)written;
	}
	return true;
}

static bool write_notice(struct output *output)
{
	char notice[NOTICE_SIZE];
	int length = snprintf(notice, sizeof(notice),
			      "penstock: %" PRIu64 " line%s dropped here: the output was not read in time\n",
			      output->dropped, output->dropped == 1 ? " was" : "s were");
	output->dropped = 0;
	return write_piece(output, notice, (size_t)length);
}

// Stdio's write function: gives `size`, or -1 and errno.
static ssize_t write_or_drop(void *cookie, const char *text, size_t size)
{
	struct output *output = cookie;
	for (size_t done = 0; done < size;) {
		size_t rest = size - done, piece = rest < PIPE_BUF ? rest : PIPE_BUF;
		bool room = await_room(output);
		if (room && output->dropped > 0) {
			if (!write_notice(output))
				return -1;
			room = await_room(output);
		}
		if (!room)
			output->dropped += count_lines(text + done, piece);
		else if (!write_piece(output, text + done, piece))
			return -1;
		done += piece;
	}
	return (ssize_t)size;
}

static FILE *guard(struct output *output, FILE *before)
{
	FILE *stream = fopencookie(output, "w", (cookie_io_functions_t){.write = write_or_drop});
	if (stream == NULL) // without memory it stays as it is
		return before;
	fflush(before);
	if (output->descriptor == STDERR_FILENO)
		setvbuf(stream, NULL, _IONBF, 0);
	else
		setvbuf(stream, NULL, isatty(output->descriptor) == 1 ? _IOLBF : _IOFBF, PIPE_BUF);
	return stream;
}

void output_guard(void)
{
	stdout = guard(&outputs[0], stdout);
	stderr = guard(&outputs[1], stderr);
}

void output_wait_for_readers(void)
{
	waits_for_readers = true;
}
