// The log. See log.h.
#include "common/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/strings.h"

// MESSAGE_SIZE is for what an error holds and a little around it; in JSON each byte may need another before it.
enum { MESSAGE_SIZE = 1536, JOB_SIZE = 128, LINE_SIZE = 2 * (MESSAGE_SIZE + JOB_SIZE) + 256 };
enum { PATIENCE_MS = 100 }; // with whoever reads the log

// The settings of the process that every module reads; main sets them, and the level again on SIGHUP.
static atomic_int threshold = LOG_LEVEL_INFO, line_format = LOG_FORMAT_TEXT;
static atomic_bool is_journal;

const char *const log_level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
	NULL,
};
const char *const log_format_names[] = {[LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json", NULL};

static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"}; // sd-daemon(3), syslog's numbers

// A line in the making; what does not fit is left out.
struct line {
	char text[LINE_SIZE];
	size_t used;
};

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

void log_set_format(enum log_format format)
{
	atomic_store(&line_format, (int)format);
}

void log_find_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM"); // systemd.exec(5): DEVICE:INODE
	unsigned long long device, inode;
	struct stat status;
	bool found = stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
		     fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
	atomic_store(&is_journal, found);
}

static void put(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct line *line, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int written = vsnprintf(line->text + line->used, sizeof(line->text) - line->used, format, arguments);
	va_end(arguments);
	if (written > 0)
		line->used += (size_t)written;
	if (line->used > sizeof(line->text) - 1)
		line->used = sizeof(line->text) - 1;
}

// A JSON string of printable text, in which only two characters need an escape.
static void put_quoted(struct line *line, const char *text)
{
	put(line, "\"");
	for (; *text != '\0'; text++)
		put(line, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	put(line, "\"");
}

static void put_time(struct line *line)
{
	struct timespec now;
	struct tm utc;
	char text[32];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	put(line, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

struct number {
	const char *name;
	int64_t value;
};

static void write_text(struct line *line, enum log_level level, const char *message, const char *job,
		       const struct number *numbers)
{
	if (!atomic_load(&is_journal)) {
		put_time(line);
		put(line, " %s ", log_level_names[level]);
	}
	put(line, "%s", message);
	if (job != NULL)
		put(line, " job=%s", job);
	for (; numbers->name != NULL; numbers++)
		if (numbers->value >= 0)
			put(line, " %s=%" PRId64, numbers->name, numbers->value);
}

static void write_json(struct line *line, enum log_level level, const char *message, const char *job,
		       const struct number *numbers)
{
	put(line, "{\"time\":\"");
	put_time(line);
	put(line, "\",\"level\":\"%s\",\"message\":", log_level_names[level]);
	put_quoted(line, message);
	if (job != NULL) {
		put(line, ",\"job\":");
		put_quoted(line, job);
	}
	for (; numbers->name != NULL; numbers++)
		if (numbers->value >= 0)
			put(line, ",\"%s\":%" PRId64, numbers->name, numbers->value);
	put(line, "}");
}

static void compose(struct line *line, enum log_level level, const struct log_fields *fields, const char *message)
{
	char job[JOB_SIZE];
	bool has_job = fields != NULL && fields->job != NULL;
	if (has_job)
		strings_printable(fields->job, job, sizeof(job));
	const struct number numbers[] = {{"stage", fields != NULL ? fields->stage : -1},
					 {"replica", fields != NULL ? fields->replica : -1},
					 {"step", fields != NULL ? fields->step : -1},
					 {NULL, 0}};
	if (atomic_load(&is_journal))
		put(line, "%s", priorities[level]);
	bool json = atomic_load(&line_format) == LOG_FORMAT_JSON;
	(json ? write_json : write_text)(line, level, message, has_job ? job : NULL, numbers);
	line->text[line->used++] = '\n'; // over the end of the string
}

// ---- Writing

// A pipe that nobody reads, or a terminal that was told to wait (Ctrl-S), takes no more: then a line is dropped, for whoever logs has heartbeats
// to send. A pipe that is ready takes PIPE_BUF bytes, so a line at least.
_Static_assert(LINE_SIZE <= PIPE_BUF, "a line is written at once");

static struct {
	pthread_mutex_t lock;
	bool is_stuck;
	uint64_t dropped; // lines, since
} output = {.lock = PTHREAD_MUTEX_INITIALIZER};

// What is wrong with it otherwise, the write finds.
static bool takes_a_line(int patience_ms)
{
	struct pollfd file = {.fd = STDERR_FILENO, .events = POLLOUT};
	int count;
	while ((count = poll(&file, 1, patience_ms)) < 0 && errno == EINTR)
		;
	return count != 0;
}

// A log that cannot be written is nobody's reason to stop.
static void write_line(const struct line *line)
{
	if (write(STDERR_FILENO, line->text, line->used) < 0)
		return;
}

static void tell_of_dropped(void)
{
	char message[96];
	struct line line = {.used = 0};
	snprintf(message, sizeof(message), "%" PRIu64 " line%s dropped here: the log was not read in time",
		 output.dropped, output.dropped == 1 ? " was" : "s were");
	compose(&line, LOG_LEVEL_WARNING, NULL, message);
	write_line(&line);
	output.dropped = 0;
}

static void write_or_drop(const struct line *line)
{
	pthread_mutex_lock(&output.lock);
	output.is_stuck = !takes_a_line(output.is_stuck ? 0 : PATIENCE_MS);
	if (!output.is_stuck && output.dropped > 0) {
		tell_of_dropped();
		output.is_stuck = !takes_a_line(0);
	}
	if (output.is_stuck)
		output.dropped++;
	else
		write_line(line);
	pthread_mutex_unlock(&output.lock);
}

void log_event(enum log_level level, const struct log_fields *fields, const char *format, ...)
{
	if ((int)level > atomic_load(&threshold))
		return;
	struct line line = {.used = 0};
	char message[MESSAGE_SIZE];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	// A message may quote what a peer sent: it must not begin a line of its own, or drive a terminal.
	strings_make_printable(message);
	compose(&line, level, fields, message);
	write_or_drop(&line);
}
