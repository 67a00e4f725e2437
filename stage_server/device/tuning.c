// See tuning.h. The file is text, a line a candidate: key, the candidate's name, its nanoseconds, with a tab between two. The last
// line about a candidate counts. Lines are only ever added, under an exclusive lock (flock) that is held while measuring, so that
// processes do not disturb each other's measurements.
#include "stage_server/device/tuning.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cache_file.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"

enum {
	MAXIMUM_FILE_BYTES = 4 << 20,
	KEY_SIZE = 2 * CHOICE_TEXT_SIZE,
	MAXIMUM_LINE_BYTES = KEY_SIZE + CHOICE_TEXT_SIZE + 32,
	ROUNDS = 5
};

// Rounds end when a question has taken this long: what takes longer is disturbed less.
#define ENOUGH_NS       500000000ull
#define LOCK_TIMEOUT_NS 30000000000ull
#define LOCK_RETRY_NS   10000000l

struct tuning {
	char *path;                     // NULL: nothing is kept
	char machine[CHOICE_TEXT_SIZE]; // begins every key
	pthread_mutex_t lock;           // of the process; the file's lock is of its descriptor
};

static int open_file(const char *path)
{
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0644);
	return file >= 0 ? file : open(path, O_RDONLY | O_CLOEXEC); // an administrator's, to be kept as it is
}

static bool can_open(const char *path)
{
	int file = open_file(path);
	if (file >= 0)
		close(file);
	return file >= 0;
}

bool tuning_create(const char *file, const char *machine, struct tuning **ret_tuning, struct error *error)
{
	struct tuning *tuning = calloc(1, sizeof(*tuning));
	if (tuning == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	pthread_mutex_init(&tuning->lock, NULL);
	snprintf(tuning->machine, sizeof(tuning->machine), "%s", machine);
	tuning->path = file != NULL ? strdup(file) : cache_file_path("tuning");
	errno = 0;
	if (tuning->path == NULL) {
		log_info("no cache folder was found for the times of kernels: they are measured again for each job");
	} else if ((file != NULL && !cache_file_make_folders(tuning->path)) || !can_open(tuning->path)) {
		log_warning("tuning file %s: %s; the times of kernels are measured again for each job", tuning->path,
			    strerror(errno));
		free(steal_pointer(tuning->path));
	}
	*ret_tuning = tuning;
	return true;
}

void tuning_destroy(struct tuning *tuning)
{
	if (tuning == NULL)
		return;
	pthread_mutex_destroy(&tuning->lock);
	free(tuning->path);
	free(tuning);
}

// Takes a line of the file apart; true where it is about one of the question's candidates.
static bool read_line(char *line, const char *key, const struct choice *choice, uint32_t *ret_candidate,
		      uint64_t *ret_ns)
{
	size_t length = strlen(key);
	if (strncmp(line, key, length) != 0 || line[length] != '\t')
		return false;
	char *name = line + length + 1, *time = strchr(name, '\t'), *end = NULL;
	if (time == NULL)
		return false;
	*time++ = '\0';
	errno = 0;
	*ret_ns = strtoull(time, &end, 10);
	*ret_candidate = choice_find(choice, name);
	return end != time && *end == '\0' && errno == 0 && *ret_candidate < choice->count;
}

// Whether the file has the times of all candidates.
static bool look_up(int file, const char *key, const struct choice *choice, uint64_t ret_ns[CHOICE_MAXIMUM_CANDIDATES])
{
	struct stat status;
	if (fstat(file, &status) != 0 || status.st_size > MAXIMUM_FILE_BYTES)
		return false;
	char *text = malloc((size_t)status.st_size + 1);
	ssize_t length = text != NULL ? pread(file, text, (size_t)status.st_size, 0) : -1;
	uint32_t found = 0, candidate = 0;
	uint64_t ns = 0;
	if (length > 0) {
		text[length] = '\0';
		char *rest = NULL;
		for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
			if (!read_line(line, key, choice, &candidate, &ns))
				continue;
			ret_ns[candidate] = ns;
			found |= 1u << candidate;
		}
	}
	free(text);
	return found == (1u << choice->count) - 1;
}

// The best of a few rounds each, taken in turn so that a disturbance hits all. False when stopped.
static bool measure(const struct choice *choice, const _Atomic(bool) *stopped,
		    uint64_t ret_ns[CHOICE_MAXIMUM_CANDIDATES])
{
	uint64_t begin_ns = clock_now_ns();
	bool usable[CHOICE_MAXIMUM_CANDIDATES];
	for (uint32_t i = 0; i < choice->count; i++) {
		ret_ns[i] = UINT64_MAX;
		usable[i] = choice->run(choice->context, i); // warms it up, too
	}
	for (int round = 0; round < ROUNDS && (round == 0 || clock_now_ns() - begin_ns < ENOUGH_NS); round++)
		for (uint32_t i = 0; i < choice->count; i++) {
			if (stopped != NULL && *stopped)
				return false;
			if (!usable[i])
				continue;
			uint64_t start_ns = clock_now_ns();
			usable[i] = choice->run(choice->context, i);
			uint64_t elapsed_ns = clock_now_ns() - start_ns;
			if (elapsed_ns < ret_ns[i])
				ret_ns[i] = elapsed_ns;
		}
	for (uint32_t i = 0; i < choice->count; i++)
		if (!usable[i])
			ret_ns[i] = UINT64_MAX;
	return true;
}

// A process holds the lock for a second or two while it measures. If it hangs, the others measure without the lock after a while.
static void lock_file(const struct tuning *tuning, int file, const _Atomic(bool) *stopped)
{
	uint64_t begin_ns = clock_now_ns();
	while (flock(file, LOCK_EX | LOCK_NB) != 0) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || (stopped != NULL && *stopped))
			return;
		if (clock_now_ns() - begin_ns > LOCK_TIMEOUT_NS) {
			log_warning("tuning file %s: another process holds its lock for %llu s; kernels are timed "
				    "without the lock",
				    tuning->path, LOCK_TIMEOUT_NS / 1000000000);
			return;
		}
		nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_NS}, NULL);
	}
}

// In one write, so that a process that holds no lock breaks no line. What cannot be kept is measured again some day.
static void keep(const struct tuning *tuning, int file, const char *key, const struct choice *choice,
		 const uint64_t *ns)
{
	char lines[CHOICE_MAXIMUM_CANDIDATES * MAXIMUM_LINE_BYTES];
	size_t length = 0;
	struct stat status;
	for (uint32_t i = 0; i < choice->count; i++)
		length += (size_t)snprintf(lines + length, sizeof(lines) - length, "%s\t%s\t%" PRIu64 "\n", key,
					   choice->names[i], ns[i]);
	if (fstat(file, &status) != 0 || status.st_size > MAXIMUM_FILE_BYTES - (off_t)sizeof(lines))
		return;
	ssize_t written = write(file, lines, length);
	// All of it or nothing: half a line, as a full disk leaves it, would spoil the next one.
	if (written > 0 && written < (ssize_t)length && ftruncate(file, status.st_size) != 0)
		log_warning("the tuning file %s ends with an incomplete line: %s", tuning->path, strerror(errno));
}

bool tuning_time(struct tuning *tuning, const struct choice *choice, const _Atomic(bool) *stopped,
		 uint64_t ret_ns[CHOICE_MAXIMUM_CANDIDATES])
{
	char key[KEY_SIZE];
	snprintf(key, sizeof(key), "%s/%s", tuning->machine, choice->key);
	pthread_mutex_lock(&tuning->lock);
	int file = tuning->path != NULL ? open_file(tuning->path) : -1;
	if (file >= 0)
		lock_file(tuning, file, stopped);
	bool known = file >= 0 && look_up(file, key, choice, ret_ns);
	bool timed = !known && measure(choice, stopped, ret_ns);
	if (timed && file >= 0)
		keep(tuning, file, key, choice, ret_ns);
	if (file >= 0)
		close(file);
	if (timed && file >= 0) // a process that polls for the lock must get it before our next question
		nanosleep(&(struct timespec){.tv_nsec = 2 * LOCK_RETRY_NS}, NULL);
	pthread_mutex_unlock(&tuning->lock);
	return known || timed;
}
