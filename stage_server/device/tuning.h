// Which of several kernels is the fastest for a shape on this machine, timed once and remembered in a file that all
// daemons of the machine share, so that all of them compute alike, whichever has timed first.
//
// Where the file can be neither read nor written, or is full (4 MiB), nothing is timed: the first candidate is taken,
// always the same.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct tuning;

enum { TUNING_MAXIMUM_CANDIDATES = 8, TUNING_NAME_SIZE = 160, TUNING_KEY_SIZE = 160 };

// `file` NULL: penstock/tuning in $XDG_CACHE_HOME, ~/.cache or /var/cache. `machine` begins every key: what choices depend on
// besides the question, as processor, library and threads; below 160 characters, white space becomes '-'.
bool tuning_create(const char *file, const char *machine, struct tuning **ret_tuning, struct error *error);
void tuning_destroy(struct tuning *tuning); // takes NULL

struct tuning_question {
	const char *key; // the operation and its shape; no white space
	uint32_t count;
	const char *names[TUNING_MAXIMUM_CANDIDATES]; // no white space
	// Runs a candidate once; false: it cannot be used. Called two to six times each, so a run must be short: other
	// programs of the machine wait.
	bool (*run)(void *context, uint32_t candidate);
	void *context;
	const _Atomic(bool) *stopped; // ends the wait for others; NULL: never
};

// Any thread; waits while another thread or process is timing, at most 30 s for a process: one that hangs must not hang all
// others, which then take the first candidate, and say so. An answer is below question->count.
uint32_t tuning_choose(struct tuning *tuning, const struct tuning_question *question);
// The name that the file has for the key, so that no other candidate needs to be made; false where it has none. Waits for nobody.
bool tuning_recall(struct tuning *tuning, const char *key, char ret_name[TUNING_NAME_SIZE]);
