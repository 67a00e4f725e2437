// See local.h.
#include "coordinator/daemons/local.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/processors.h"

enum { START_TIMEOUT_MS = 20000, STOP_TIMEOUT_MS = 10000, POLL_MS = 5 };

struct local_daemons {
	uint32_t count;
	char folder[64];
	pid_t pids[LOCAL_MAXIMUM_DAEMONS]; // 0: not started, or gone
	char addresses[LOCAL_MAXIMUM_DAEMONS][96];
};

// ---- Finding the program

static bool try_program(char *into, size_t size, const char *folder, const char *rest)
{
	return snprintf(into, size, "%s/%s", folder, rest) < (int)size && access(into, X_OK) == 0;
}

static bool find_in_path(char *into, size_t size)
{
	const char *path = getenv("PATH");
	char copy[PATH_MAX], *rest = NULL;
	snprintf(copy, sizeof(copy), "%s", path != NULL ? path : "");
	for (char *folder = strtok_r(copy, ":", &rest); folder != NULL; folder = strtok_r(NULL, ":", &rest))
		if (try_program(into, size, folder, "penstockd"))
			return true;
	return false;
}

static bool find_program(char *into, size_t size, struct error *error)
{
	const char *named = getenv("PENSTOCKD");
	if (named != NULL)
		return (snprintf(into, size, "%s", named) < (int)size && access(into, X_OK) == 0) ||
		       error_set(error, ERROR_USAGE, "$PENSTOCKD is %s, which cannot be executed: %s", named,
				 strerror(errno));
	char self[PATH_MAX] = "";
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *folder = length > 0 ? dirname(self) : ".";
	return try_program(into, size, folder, "penstockd") ||
	       try_program(into, size, folder, "../stage_server/penstockd") || find_in_path(into, size) ||
	       error_set(error, ERROR_FAILED,
			 "penstockd is neither beside this program nor in PATH; install it, or name it in $PENSTOCKD");
}

// ---- One daemon

// What the environment says to a daemon that this machine runs is not meant for these.
static void forget_daemon_options(void)
{
	char name[128];
	unsetenv("NOTIFY_SOCKET"); // whom the coordinator may tell how it is, not they
	for (char **entry = environ; *entry != NULL;) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*entry, "="), *entry);
		if (strncmp(name, "PENSTOCK_", strlen("PENSTOCK_")) != 0 || unsetenv(name) != 0)
			entry++;
	}
}

static void become_daemon(const char *program, const struct local_options *options, const char *address,
			  const char *ready, uint32_t threads, pid_t parent)
{
	char count[16];
	const char *arguments[16] = {program, "--listen",    address, "--ready-file", ready, "--device",
				     "cpu",   "--log-level", "error", "--threads",    count};
	size_t used = 11;
	snprintf(count, sizeof(count), "%u", threads);
	if (options->memory_limit != NULL) {
		arguments[used++] = "--memory-limit";
		arguments[used++] = options->memory_limit;
	}
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL); // the coordinator's own holds signals back
	// Ends with this process, however that ends; and not with the terminal's Ctrl-C, which is for the coordinator.
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setpgid(0, 0);
	forget_daemon_options();
	if (getppid() == parent)
		execv(program, (char *const *)arguments);
	_exit(127);
}

static bool has_ended(struct local_daemons *daemons, uint32_t index)
{
	if (daemons->pids[index] > 0 && waitpid(daemons->pids[index], NULL, WNOHANG) != 0)
		daemons->pids[index] = 0;
	return daemons->pids[index] == 0;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
}

static bool wait_until_ready(struct local_daemons *daemons, uint32_t index, struct error *error)
{
	char ready[96];
	uint64_t begin = clock_now_ns();
	snprintf(ready, sizeof(ready), "%s/%u.ready", daemons->folder, index);
	while (access(ready, F_OK) != 0) {
		if (has_ended(daemons, index))
			return error_set(error, ERROR_FAILED,
					 "local daemon %u exited at its start; its messages, if any, are above", index);
		if ((clock_now_ns() - begin) / 1000000 > START_TIMEOUT_MS)
			return error_set(error, ERROR_FAILED, "local daemon %u was not listening after %d s", index,
					 START_TIMEOUT_MS / 1000);
		nap();
	}
	return true;
}

uint32_t local_daemons_threads(const struct local_options *options)
{
	uint32_t processors = processors_allowed();
	uint32_t share = processors > options->count ? processors / options->count : 1;
	return options->threads > 0 ? options->threads : share;
}

static bool start_all(struct local_daemons *daemons, const struct local_options *options, struct error *error)
{
	char program[PATH_MAX], ready[96];
	uint32_t threads = local_daemons_threads(options);
	if (!find_program(program, sizeof(program), error))
		return false;
	for (uint32_t i = 0; i < options->count; i++) {
		snprintf(daemons->addresses[i], sizeof(daemons->addresses[i]), "unix:%s/%u.sock", daemons->folder, i);
		snprintf(ready, sizeof(ready), "%s/%u.ready", daemons->folder, i);
		pid_t parent = getpid(), child = fork();
		if (child == 0)
			become_daemon(program, options, daemons->addresses[i], ready, threads, parent);
		if (child < 0)
			return error_set(error, ERROR_FAILED, "start a local daemon: %s", strerror(errno));
		daemons->pids[i] = child;
	}
	for (uint32_t i = 0; i < options->count; i++)
		if (!wait_until_ready(daemons, i, error))
			return false;
	return true;
}

bool local_daemons_start(const struct local_options *options, struct local_daemons **ret_daemons, struct error *error)
{
	const char *parent = getenv("XDG_RUNTIME_DIR");
	if (options->count < 1 || options->count > LOCAL_MAXIMUM_DAEMONS)
		return error_set(error, ERROR_USAGE, "--local %u: must be from 1 to %d", options->count,
				 LOCAL_MAXIMUM_DAEMONS);
	struct local_daemons *daemons = calloc(1, sizeof(*daemons));
	if (daemons == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	daemons->count = options->count;
	// A socket's path must be short.
	if (parent == NULL || strlen(parent) > 40 || access(parent, W_OK) != 0)
		parent = "/tmp";
	snprintf(daemons->folder, sizeof(daemons->folder), "%s/penstock-XXXXXX", parent);
	if (mkdtemp(daemons->folder) == NULL) {
		error_set(error, ERROR_FAILED, "make a folder in %s: %s", parent, strerror(errno));
		free(daemons);
		return false;
	}
	if (!start_all(daemons, options, error)) {
		local_daemons_stop(daemons);
		return false;
	}
	*ret_daemons = daemons;
	return true;
}

const char *local_daemons_address(const struct local_daemons *daemons, uint32_t index)
{
	return daemons->addresses[index];
}

void local_daemons_stop(struct local_daemons *daemons)
{
	if (daemons == NULL)
		return;
	uint64_t begin = clock_now_ns();
	for (uint32_t i = 0; i < daemons->count; i++)
		if (daemons->pids[i] > 0)
			kill(daemons->pids[i], SIGTERM);
	for (uint32_t i = 0; i < daemons->count; i++) {
		while (!has_ended(daemons, i) && (clock_now_ns() - begin) / 1000000 < STOP_TIMEOUT_MS)
			nap();
		if (!has_ended(daemons, i)) {
			kill(daemons->pids[i], SIGKILL);
			waitpid(daemons->pids[i], NULL, 0);
		}
		char path[96];
		snprintf(path, sizeof(path), "%s/%u.ready", daemons->folder, i);
		unlink(path);
		snprintf(path, sizeof(path), "%s/%u.sock", daemons->folder, i);
		unlink(path);
	}
	rmdir(daemons->folder);
	free(daemons);
}
