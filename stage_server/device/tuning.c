// See tuning.h. The file is text, a line a choice: key, candidate's name, its nanoseconds. Lines are only ever added,
// under an exclusive lock (flock) that is held while timing, so two processes never disturb each other's measurements.
#include "stage_server/device/tuning.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"

enum { MAXIMUM_FILE_BYTES = 4 << 20, MAXIMUM_LINE_BYTES = 640, ROUNDS = 5 };

// Rounds end when a question has taken this long: what takes longer is disturbed less.
#define ENOUGH_NS       500000000ull
#define LOCK_TIMEOUT_NS 30000000000ull
#define LOCK_RETRY_NS   10000000l

struct tuning {
	char *path;           // NULL: nothing is remembered
	char machine[160];    // begins every key
	pthread_mutex_t lock; // of the process; the file's lock is of its descriptor
};

// Makes the folders above the last slash.
static bool make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		bool made = mkdir(path, 0755) == 0 || errno == EEXIST;
		*slash = '/';
		if (!made)
			return false;
	}
	return true;
}

static int open_file(const char *path)
{
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0644);
	return file >= 0 ? file : open(path, O_RDONLY | O_CLOEXEC); // an administrator's, to be kept as it is
}

// The first place that works: returns owned, or NULL.
static char *default_path(void)
{
	const char *bases[] = {getenv("XDG_CACHE_HOME"), getenv("HOME"), "/var/cache"};
	const char *folders[] = {"penstock/tuning", ".cache/penstock/tuning", "penstock/tuning"};
	for (int i = 0; i < 3; i++) {
		char *path = NULL;
		if (bases[i] == NULL || bases[i][0] != '/' || asprintf(&path, "%s/%s", bases[i], folders[i]) < 0)
			continue;
		int file = make_folders(path) ? open_file(path) : -1;
		if (file >= 0) {
			close(file);
			return path;
		}
		free(path);
	}
	return NULL;
}

bool tuning_create(const char *file, const char *machine, struct tuning **ret_tuning, struct error *error)
{
	struct tuning *tuning = calloc(1, sizeof(*tuning));
	if (tuning == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	pthread_mutex_init(&tuning->lock, NULL);
	snprintf(tuning->machine, sizeof(tuning->machine), "%s", machine);
	for (char *c = tuning->machine; *c != '\0'; c++)
		if (*c == ' ' || *c == '\t')
			*c = '-';
	tuning->path = file != NULL ? strdup(file) : default_path();
	if (tuning->path != NULL) {
		int descriptor = make_folders(tuning->path) ? open_file(tuning->path) : -1;
		if (descriptor < 0) {
			log_warning("tuning file %s: %s; kernels are not timed, the usual ones are used", tuning->path,
				    strerror(errno));
			free(tuning->path);
			tuning->path = NULL;
		} else {
			close(descriptor);
		}
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

static uint32_t index_of(const char *name, uint32_t count, const char *const *names)
{
	uint32_t i = 0;
	while (i < count && strcmp(names[i], name) != 0)
		i++;
	return i;
}

// The name that the file has for the key, of those in `names` (any where `names` is NULL); "" where there is none. The last line
// about a key counts. False: the file cannot be read as a whole, or has no room for another line that would be.
static bool look_up(int file, const char *key, uint32_t count, const char *const *names,
		    char ret_name[TUNING_NAME_SIZE])
{
	struct stat status;
	if (fstat(file, &status) != 0 || status.st_size > MAXIMUM_FILE_BYTES - MAXIMUM_LINE_BYTES)
		return false;
	char *text = malloc((size_t)status.st_size + 1);
	ssize_t length = text != NULL ? pread(file, text, (size_t)status.st_size, 0) : -1;
	ret_name[0] = '\0';
	if (length > 0) {
		text[length] = '\0';
		size_t key_length = strlen(key);
		char *rest = NULL;
		for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
			if (strncmp(line, key, key_length) != 0 || line[key_length] != '\t')
				continue;
			char *name = line + key_length + 1;
			name[strcspn(name, "\t")] = '\0';
			if (strlen(name) < TUNING_NAME_SIZE && (names == NULL || index_of(name, count, names) < count))
				strcpy(ret_name, name);
		}
	}
	free(text);
	return length == status.st_size;
}

// The best of a few rounds each, taken in turn so that a disturbance hits all; the first candidate wins a tie of 2 %. The
// time is UINT64_MAX where none can be used.
static uint32_t measure(const struct tuning_question *question, uint64_t *ret_ns)
{
	uint64_t begin_ns = clock_now_ns(), best_ns[TUNING_MAXIMUM_CANDIDATES] = {UINT64_MAX};
	bool usable[TUNING_MAXIMUM_CANDIDATES];
	for (uint32_t i = 0; i < question->count; i++) {
		best_ns[i] = UINT64_MAX;
		usable[i] = question->run(question->context, i); // warms it up, too
	}
	for (int round = 0; round < ROUNDS && (round == 0 || clock_now_ns() - begin_ns < ENOUGH_NS); round++)
		for (uint32_t i = 0; i < question->count; i++) {
			if (!usable[i])
				continue;
			uint64_t start_ns = clock_now_ns();
			usable[i] = question->run(question->context, i);
			uint64_t elapsed_ns = clock_now_ns() - start_ns;
			if (elapsed_ns < best_ns[i])
				best_ns[i] = elapsed_ns;
		}
	uint32_t best = 0;
	for (uint32_t i = 1; i < question->count; i++)
		if (usable[i] && (!usable[best] || (double)best_ns[i] * 1.02 < (double)best_ns[best]))
			best = i;
	*ret_ns = best_ns[best];
	return best;
}

// Whoever times holds it for a second or two; one that hangs must not hang all others.
static bool lock_file(const struct tuning *tuning, int file, const _Atomic(bool) *stopped)
{
	uint64_t begin_ns = clock_now_ns();
	while (flock(file, LOCK_EX | LOCK_NB) != 0) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || (stopped != NULL && *stopped))
			return false;
		if (clock_now_ns() - begin_ns > LOCK_TIMEOUT_NS) {
			log_warning("tuning file %s: another process holds its lock; the usual kernels are used",
				    tuning->path);
			return false;
		}
		nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_NS}, NULL);
	}
	return true;
}

// All of it or nothing: half a line, as a full disk leaves it, would spoil the next one.
static bool append_line(int file, const char *line, size_t length)
{
	struct stat before;
	if (fstat(file, &before) != 0)
		return false;
	ssize_t written = write(file, line, length);
	if (written == (ssize_t)length)
		return true;
	if (written > 0 && ftruncate(file, before.st_size) != 0)
		log_warning("a half line is left in the tuning file: %s", strerror(errno));
	return false;
}

uint32_t tuning_choose(struct tuning *tuning, const struct tuning_question *question)
{
	if (question->count <= 1 || tuning->path == NULL)
		return 0;
	char key[sizeof(tuning->machine) + TUNING_KEY_SIZE], name[TUNING_NAME_SIZE];
	snprintf(key, sizeof(key), "%s/%s", tuning->machine, question->key);
	pthread_mutex_lock(&tuning->lock);
	uint32_t choice = 0;
	bool timed = false;
	int file = open_file(tuning->path);
	if (file >= 0 && lock_file(tuning, file, question->stopped) &&
	    look_up(file, key, question->count, question->names, name)) {
		choice = index_of(name, question->count, question->names);
		bool writable = (fcntl(file, F_GETFL) & O_ACCMODE) == O_RDWR;
		if (choice == question->count && writable) {
			uint64_t ns = 0;
			timed = true;
			choice = measure(question, &ns);
			char line[sizeof(key) + TUNING_NAME_SIZE + 32];
			_Static_assert(sizeof(line) <= MAXIMUM_LINE_BYTES, "a line has its room");
			int length = snprintf(line, sizeof(line), "%s\t%s\t%llu\n", key, question->names[choice],
					      (unsigned long long)ns);
			// What is not remembered must not be used: the next program could choose otherwise.
			if (ns == UINT64_MAX || !append_line(file, line, (size_t)length))
				choice = 0;
		}
		if (choice == question->count)
			choice = 0;
	}
	if (file >= 0)
		close(file);
	if (timed) // who polls for the lock must get it before our next question
		nanosleep(&(struct timespec){.tv_nsec = 2 * LOCK_RETRY_NS}, NULL);
	pthread_mutex_unlock(&tuning->lock);
	return choice;
}

bool tuning_recall(struct tuning *tuning, const char *key, char ret_name[TUNING_NAME_SIZE])
{
	char whole[sizeof(tuning->machine) + TUNING_KEY_SIZE];
	snprintf(whole, sizeof(whole), "%s/%s", tuning->machine, key);
	int file = tuning->path != NULL ? open_file(tuning->path) : -1;
	bool known = file >= 0 && look_up(file, whole, 0, NULL, ret_name) && ret_name[0] != '\0';
	if (file >= 0)
		close(file);
	return known;
}
