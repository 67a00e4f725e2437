// The log. See log.h.
#include "common/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/strings.h"

// The level is the one setting of the process that every module reads; it is set once, by main.
static atomic_int threshold = LOG_LEVEL_INFO;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

bool log_level_parse(const char *name, enum log_level *ret_level)
{
	for (int i = 0; i < 4; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_write(enum log_level level, const char *format, ...)
{
	if ((int)level > atomic_load(&threshold))
		return;
	char line[2048];
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	struct tm utc;
	gmtime_r(&now.tv_sec, &utc);
	size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
	used += (size_t)snprintf(line + used, sizeof(line) - used, ".%03ldZ %s ", now.tv_nsec / 1000000,
				 level_names[level]);
	va_list arguments;
	va_start(arguments, format);
	int written = vsnprintf(line + used, sizeof(line) - used - 1, format, arguments);
	va_end(arguments);
	if (written > 0)
		used += (size_t)written;
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	// A message may quote what a peer sent: it must not begin a line of its own, or drive a terminal.
	line[used] = '\0';
	strings_make_printable(line);
	line[used++] = '\n';
	// A log that cannot be written is nobody's reason to stop.
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}
