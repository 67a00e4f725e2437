// One line per event on stderr, as text, "TIME LEVEL message job=J stage=S replica=R step=N", or as JSON, an object with the same keys.
// Where stderr is systemd's journal, a line begins with its priority, "<4>", and text goes without the time and level that
// the journal has anyway.
// Any thread; a line is written whole, and what it quotes cannot begin another one. Nobody waits for a reader of stderr that does not read: lines
// are left out until it does, and then their number is logged.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

// As people write them, in the order of the enums; NULL ends each.
extern const char *const log_level_names[];  // "error", "warning", "info", "debug"
extern const char *const log_format_names[]; // "text", "json"

// What an event is about; a negative number is left out.
struct log_fields {
	const char *job;
	int64_t stage, replica, step;
};

void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
void log_find_journal(void); // once, early: is stderr the journal ($JOURNAL_STREAM)?
// `fields` may be NULL.
void log_event(enum log_level level, const struct log_fields *fields, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(...)   log_event(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warning(...) log_event(LOG_LEVEL_WARNING, NULL, __VA_ARGS__)
#define log_info(...)    log_event(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_debug(...)   log_event(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)
