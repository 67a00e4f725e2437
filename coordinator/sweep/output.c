// See output.h.
#include "coordinator/sweep/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/output_file.h"
#include "common/base/output_lock.h"
#include "common/base/strings.h"
#include "coordinator/sweep/csv.h"
#include "coordinator/sweep/file.h"
#include "coordinator/sweep/plot.h"
#include "coordinator/sweep/table.h"

enum { DRAW_TIMEOUT_MS = 60000, POLL_MS = 10, MAXIMUM_PICTURE_BYTES = 64 << 20 };

struct sweep_output {
	char *folder, *json_path;
	int lock; // the folder, locked while this is open
};

bool sweep_output_open(const char *folder, struct sweep_output **ret_output, struct error *error)
{
	if (mkdir(folder, 0777) != 0 && errno != EEXIST)
		return error_set(error, ERROR_USAGE, "--output %s: the folder cannot be made: %s", folder,
				 strerror(errno));
	int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0)
		return error_set(error, ERROR_USAGE, "--output %s: %s", folder, strerror(errno));
	if (faccessat(lock, ".", W_OK | X_OK, AT_EACCESS) != 0) {
		int why = errno;
		close(lock);
		return error_set(error, ERROR_USAGE, "--output %s: cannot be written to: %s", folder, strerror(why));
	}
	if (!output_lock_descriptor(lock, folder, error)) {
		close(lock);
		return error_wrap(error, "--output");
	}
	struct sweep_output *output = calloc(1, sizeof(*output));
	if (output == NULL || (output->folder = strdup(folder)) == NULL ||
	    asprintf(&output->json_path, "%s/sweep.json", folder) < 0) {
		if (output != NULL)
			free(output->folder);
		free(output);
		close(lock);
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	output->lock = lock;
	*ret_output = output;
	return true;
}

void sweep_output_close(struct sweep_output *output)
{
	if (output == NULL)
		return;
	close(output->lock);
	free(output->folder);
	free(output->json_path);
	free(output);
}

const char *sweep_output_json_path(const struct sweep_output *output)
{
	return output->json_path;
}

bool sweep_output_has_json(const struct sweep_output *output)
{
	return access(output->json_path, F_OK) == 0;
}

// ---- The files

static bool write_json(const struct sweep *sweep, FILE *out)
{
	return sweep_file_write(sweep, out);
}

static bool write_csv(const struct sweep *sweep, FILE *out)
{
	sweep_csv_write(sweep, out);
	return true;
}

static bool write_table(const struct sweep *sweep, FILE *out)
{
	sweep_table_write(sweep, out);
	return true;
}

static bool write_plot(const struct sweep *sweep, FILE *out)
{
	sweep_plot_write(sweep, out);
	return true;
}

static bool write_one(const struct sweep_output *output, const struct sweep *sweep, const char *name,
		      bool (*write_text)(const struct sweep *sweep, FILE *out), struct error *error)
{
	char *text = NULL, path[PATH_MAX];
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool ok = out != NULL && write_text(sweep, out) && ferror(out) == 0;
	if (out != NULL && fclose(out) != 0)
		ok = false;
	snprintf(path, sizeof(path), "%s/%s", output->folder, name);
	ok = ok ? output_file_replace(path, text, size, error)
		: error_set(error, ERROR_FAILED, "%s: out of memory", path);
	free(text);
	return ok;
}

bool sweep_output_write(const struct sweep_output *output, const struct sweep *sweep, struct error *error)
{
	// The one that a sweep goes on from is first.
	return write_one(output, sweep, "sweep.json", write_json, error) &&
	       write_one(output, sweep, "sweep.csv", write_csv, error) &&
	       write_one(output, sweep, "sweep.md", write_table, error) &&
	       write_one(output, sweep, "sweep.gp", write_plot, error);
}

// ---- The pictures

// Goes on as gnuplot, or tells through `failure` why not. It ends with this process, however that ends, and is a group of its own, to
// be ended with all that it starts. What it prints is no result: it goes to stderr.
static void become_gnuplot(const struct sweep_output *output, int failure, pid_t parent)
{
	static const char *const arguments[] = {"gnuplot", "-e", "suffix='.part'", "sweep.gp", NULL};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (getppid() == parent && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 && fchdir(output->lock) == 0)
		execvp(arguments[0], (char *const *)arguments);
	int why = errno;
	_exit(write(failure, &why, sizeof(why)) == sizeof(why) ? 127 : 126);
}

// 0, or what is wrong (ENOENT: there is no gnuplot).
static int start_gnuplot(const struct sweep_output *output, pid_t *ret_child)
{
	int failure[2], why = 0;
	if (pipe2(failure, O_CLOEXEC) != 0)
		return errno;
	pid_t parent = getpid(), child = fork();
	if (child == 0)
		become_gnuplot(output, failure[1], parent);
	if (child < 0)
		why = errno;
	close(failure[1]);
	ssize_t got = 0;
	while (child > 0 && (got = read(failure[0], &why, sizeof(why))) < 0 && errno == EINTR)
		;
	close(failure[0]);
	if (got > 0)
		waitpid(child, NULL, 0);
	*ret_child = child;
	return why;
}

static bool end(pid_t child, int code, struct error *error, const char *message)
{
	kill(-child, SIGKILL);
	waitpid(child, NULL, 0);
	return error_set(error, code, "%s", message);
}

// Waits, but not for ever. False when it had to be killed, or ended badly.
static bool wait_for(pid_t child, bool (*is_interrupted)(void), struct error *error)
{
	uint64_t begin = clock_now_ns();
	int status = 0;
	while (waitpid(child, &status, WNOHANG) == 0) {
		if (is_interrupted())
			return end(child, ERROR_CANCELLED, error, "interrupted");
		if ((clock_now_ns() - begin) / 1000000 > DRAW_TIMEOUT_MS)
			return end(child, ERROR_FAILED, error, "gnuplot did not end within a minute");
		nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
	}
	return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
	       error_set(error, ERROR_FAILED, "gnuplot ended with %s %d; its messages are above",
			 WIFEXITED(status) ? "code" : "signal",
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static bool take_place(const struct sweep_output *output, const char *name, struct error *error)
{
	char path[PATH_MAX], part[PATH_MAX];
	_cleanup_free_ char *picture = NULL;
	size_t size;
	snprintf(path, sizeof(path), "%s/%s", output->folder, name);
	snprintf(part, sizeof(part), "%s/%s.part", output->folder, name);
	if (!file_read(part, MAXIMUM_PICTURE_BYTES, &picture, &size, error))
		return error_wrap(error, "gnuplot did not write %s", path);
	unlink(part);
	return output_file_replace(path, picture, size, error);
}

static void remove_parts(const struct sweep_output *output)
{
	unlinkat(output->lock, "sweep.png.part", 0);
	unlinkat(output->lock, "sweep.svg.part", 0);
}

static enum sweep_output_pictures draw(const struct sweep_output *output, bool (*is_interrupted)(void),
				       struct error *error)
{
	pid_t child = 0;
	remove_parts(output); // gnuplot would write through a link with such a name
	int why = start_gnuplot(output, &child);
	if (why == ENOENT)
		return SWEEP_NO_GNUPLOT;
	if (why != 0) {
		error_set(error, ERROR_FAILED, "gnuplot cannot be run: %s", strerror(why));
		return SWEEP_NOT_DRAWN;
	}
	return wait_for(child, is_interrupted, error) && take_place(output, "sweep.png", error) &&
			       take_place(output, "sweep.svg", error)
		       ? SWEEP_DRAWN
		       : SWEEP_NOT_DRAWN;
}

// Whether there was one.
static bool remove_pictures(const struct sweep_output *output)
{
	remove_parts(output);
	bool had_png = unlinkat(output->lock, "sweep.png", 0) == 0;
	return unlinkat(output->lock, "sweep.svg", 0) == 0 || had_png;
}

enum sweep_output_pictures sweep_output_draw(const struct sweep_output *output, bool (*is_interrupted)(void),
					     bool *ret_removed, struct error *error)
{
	enum sweep_output_pictures pictures = draw(output, is_interrupted, error);
	*ret_removed = pictures != SWEEP_DRAWN && remove_pictures(output);
	return pictures;
}
