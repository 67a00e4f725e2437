// What a command that trains prints for people: standard output and standard error never hold the job up. While it runs, what a full pipe
// or a stopped terminal (Ctrl-S) does not take is left out; when it takes text again, the number of lines that were left out is printed first.
// Results at the end are waited for until they are read, or a signal comes. Files for programs (--json) are not meant: they are whole.
#pragma once

// After command_catch_signals: from here on printf, and fprintf to stderr, do so. The log has a way of its own (common/base/log.h).
void output_guard(void);
// The job is over: what is printed from here on is waited for.
void output_wait_for_readers(void);
