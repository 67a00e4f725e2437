// See json_output.h.
#include "coordinator/report/json_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/output_lock.h"
#include "coordinator/run/job.h"

enum { FIRST_FREE_DESCRIPTOR = 3 };

struct json_output {
	const char *path;
	int descriptor;
	bool is_file; // can be cut back to its last whole line
	bool waits;   // there is earlier content, and json_output_begin has not been called
	FILE *held;   // the lines meanwhile; NULL: none
	char *held_text;
	size_t held_size;
	FILE *stream;
	char *stream_text;
	size_t stream_size;
	int failure; // errno of the first line that could not be written; 0: none
};

// Standard output is the lines' from here on; what is printed goes to standard error.
static int take_standard_output(void)
{
	fflush(stdout);
	int descriptor = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, FIRST_FREE_DESCRIPTOR);
	if (descriptor >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
		close(descriptor);
		return -1;
	}
	return descriptor;
}

static bool open_file(struct json_output *output, struct error *error)
{
	struct stat status;
	bool is_standard_output = strcmp(output->path, "-") == 0;
	output->descriptor = is_standard_output ? take_standard_output()
						: open(output->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
	if (output->descriptor < 0)
		return error_set(error, ERROR_USAGE, "--json %s: %s", output->path, strerror(errno));
	if (fstat(output->descriptor, &status) != 0)
		return error_set(error, ERROR_FAILED, "--json %s: %s", output->path, strerror(errno));
	output->is_file = S_ISREG(status.st_mode) && !is_standard_output; // which the shell may have opened to append
	output->waits = output->is_file && status.st_size > 0;
	return !output->is_file || output_lock_descriptor(output->descriptor, output->path, error) ||
	       error_wrap(error, "--json");
}

bool json_output_open(const char *path, struct json_output **ret_output, struct error *error)
{
	struct json_output *output = calloc(1, sizeof(*output));
	if (output == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	output->path = path;
	if (!open_file(output, error)) {
		if (output->descriptor >= 0)
			close(output->descriptor);
		free(output);
		return false;
	}
	*ret_output = output;
	return true;
}

// 0 or an errno.
static int write_all(int descriptor, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t written = write(descriptor, text, size);
		// A reader that does not read must not keep an interrupted job alive.
		if (written < 0 && (errno != EINTR || job_is_interrupted()))
			return errno;
		if (written > 0) {
			text += written;
			size -= (size_t)written;
		}
	}
	return 0;
}

static void fail(struct json_output *output, int failure)
{
	if (output->failure != 0)
		return;
	output->failure = failure;
	log_warning("--json %s: %s; lines are missing from here on", output->path, strerror(failure));
}

static void write_lines(struct json_output *output, const char *lines, size_t size)
{
	off_t before = output->is_file ? lseek(output->descriptor, 0, SEEK_CUR) : -1;
	int failure = write_all(output->descriptor, lines, size);
	if (failure == 0)
		return;
	fail(output, failure);
	if (before >= 0 && ftruncate(output->descriptor, before) == 0) // half a line is no JSON
		lseek(output->descriptor, before, SEEK_SET);
}

void json_output_put(struct json_output *output, const char *lines, size_t size)
{
	if (!output->waits) {
		write_lines(output, lines, size);
		return;
	}
	if (output->held == NULL)
		output->held = open_memstream(&output->held_text, &output->held_size);
	if (output->held == NULL || fwrite(lines, 1, size, output->held) != size)
		fail(output, ENOMEM);
}

void json_output_begin(struct json_output *output)
{
	if (!output->waits)
		return;
	output->waits = false;
	if (ftruncate(output->descriptor, 0) != 0)
		fail(output, errno);
	if (output->held == NULL)
		return;
	if (fclose(output->held) == 0)
		write_lines(output, output->held_text, output->held_size);
	else
		fail(output, ENOMEM);
	free(output->held_text);
	output->held = NULL;
	output->held_text = NULL;
}

FILE *json_output_stream(struct json_output *output)
{
	if (output->stream == NULL)
		output->stream = open_memstream(&output->stream_text, &output->stream_size);
	return output->stream;
}

static void close_stream(struct json_output *output)
{
	if (output->stream == NULL)
		return;
	if (fclose(output->stream) != 0)
		fail(output, ENOMEM);
	else if (output->stream_size > 0) {
		json_output_begin(output);
		json_output_put(output, output->stream_text, output->stream_size);
	}
	free(output->stream_text);
}

bool json_output_close(struct json_output *output, struct error *error)
{
	if (output == NULL)
		return true;
	close_stream(output);
	if (output->held != NULL) { // nothing was begun: the earlier content stays
		fclose(output->held);
		free(output->held_text);
	}
	if (close(output->descriptor) != 0 && output->failure == 0)
		output->failure = errno;
	bool ok = output->failure == 0 || error_set(error, ERROR_FAILED, "--json %s: could not be written whole: %s",
						    output->path, strerror(output->failure));
	free(output);
	return ok;
}
